/** The bounds of the queue, and that a wait sees what was pushed. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BoundedQueue } from '../../../src/runtime/bounded-queue.js';

const bounds = { items: 3, bytes: 100 };

test('refuses what is over either bound, and takes one that alone is over it', () => {
  const queue = new BoundedQueue<string>(bounds);
  expect(queue.push('huge', 500)).toBe(true);
  expect(queue.push('small', 1)).toBe(false);
  expect(queue.take(bounds)).toEqual(['huge']);
  for (const item of ['a', 'b', 'c']) expect(queue.push(item, 1)).toBe(true);
  expect(queue.push('d', 1)).toBe(false);
});

test('whatever is pushed and taken, order holds and bounds are kept', () => {
  const step = fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constant('take' as const));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      const queue = new BoundedQueue<number>(bounds);
      const expected: number[] = [];
      const sizes = new Map<number, number>();
      steps.forEach((bytes, i) => {
        if (bytes === 'take') {
          const taken = queue.take({ items: 2, bytes: 80 });
          expect(taken).toEqual(expected.splice(0, taken.length));
        } else if (queue.push(i, bytes)) {
          expected.push(i);
          sizes.set(i, bytes);
        }
        expect(queue.size).toBe(expected.length);
        expect(queue.size).toBeLessThanOrEqual(bounds.items);
        expect(expected.reduce((sum, item) => sum + (sizes.get(item) ?? 0), 0)).toBeLessThanOrEqual(bounds.bytes);
      });
    }),
  );
});

test('a wait ends with a push, a wake or the signal, and does not remember what was taken', async () => {
  const queue = new BoundedQueue<string>(bounds);
  const pushed = queue.wait(60_000);
  queue.push('a', 1);
  await pushed;
  await queue.wait(60_000);
  queue.take(bounds);
  const stop = new AbortController();
  let ended = false;
  const waiting = queue.wait(60_000, stop.signal).then(() => {
    ended = true;
  });
  await Promise.resolve();
  expect(ended).toBe(false);
  stop.abort();
  await waiting;
  queue.wake();
  await queue.wait(60_000);
});
