/** Wake-ups reach as many waiters as there is work for, in turn, and none is lost on one that is busy asking. */
import { expect, test } from 'vitest';
import { type Waiter, Waiters } from '../../../src/dispatch/waiters.js';
import { WakeSignal } from '../../../src/runtime/wake-signal.js';

function waiter(limit: number, ...classes: number[]): Waiter & { woken(): Promise<boolean> } {
  const signal = new WakeSignal();
  return { limit, accepts: (id) => classes.includes(id), signal, woken: () => signal.wait(0) };
}

function waiting<W extends Waiter>(...all: W[]): Waiters {
  const waiters = new Waiters();
  for (const one of all) waiters.add(one);
  return waiters;
}

const wokenOf = (all: readonly ReturnType<typeof waiter>[]) => Promise.all(all.map((one) => one.woken()));

test('one execution wakes one waiter that can run it, the longest waiting first', async () => {
  const all = [waiter(1, 9), waiter(1, 1), waiter(1, 1)];
  const waiters = waiting(...all);
  waiters.wake(1, 1);
  expect(await wokenOf(all)).toEqual([false, true, false]);
  waiters.wake(1, 1);
  expect(await wokenOf(all)).toEqual([false, false, true]);
  waiters.wake(1, 1);
  expect(await wokenOf(all)).toEqual([false, true, false]);
});

test('many wake as many as can take them', async () => {
  const all = [waiter(10, 1), waiter(5, 1), waiter(5, 1), waiter(1, 1)];
  waiting(...all).wake(1, 15);
  expect(await wokenOf(all)).toEqual([true, true, false, false]);
});

test('an unknown number wakes everybody who can', async () => {
  const all = [waiter(500, 1), waiter(500, 1), waiter(500, 2)];
  waiting(...all).wake(1, Number.POSITIVE_INFINITY);
  expect(await wokenOf(all)).toEqual([true, true, false]);
});

test('who has left is not woken, and who has just asked is', async () => {
  const [gone, asking] = [waiter(1, 1), waiter(1, 1)];
  const waiters = waiting(gone, asking);
  waiters.remove(gone);
  asking.signal.clear();
  waiters.wake(1, 1);
  expect(await wokenOf([gone, asking])).toEqual([false, true]);
  expect(waiters.size).toBe(1);
});

test('only classes that somebody waits for are looked into', () => {
  expect(waiting(waiter(1, 2, 3), waiter(1, 3)).waitedFor([1, 2, 3])).toEqual([2, 3]);
  expect(waiting().waitedFor([1, 2, 3])).toEqual([]);
});
