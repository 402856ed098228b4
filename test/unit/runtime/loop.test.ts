/** A loop runs its body one at a time, survives its errors, and ends within its bound. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Loop } from '../../../src/runtime/loop.js';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

interface Made {
  readonly loop: Loop;
  readonly errors: unknown[];
  runs: number;
}

function make(body: (run: number, signal: AbortSignal) => Promise<number | undefined>, options = {}): Made {
  const errors: unknown[] = [];
  const made: Made = {
    runs: 0,
    errors,
    loop: new Loop({
      name: 'tested',
      jitter: 0,
      body: async (signal) => await body(++made.runs, signal),
      onError: (name, error) => errors.push([name, error]),
      ...options,
    }),
  };
  made.loop.start();
  return made;
}

test('runs again after the time it names, and at once when there is more to do', async () => {
  const made = make(async (run) => (run < 3 ? 0 : 1_000));
  await vi.advanceTimersByTimeAsync(999);
  expect(made.runs).toBe(3);
  await vi.advanceTimersByTimeAsync(1);
  expect(made.runs).toBe(4);
  await made.loop.stop();
});

test('a wake-up during a run is followed by one more run; several make one', async () => {
  let release: () => void = () => undefined;
  const made = make(async (run) => {
    if (run === 1) await new Promise<void>((resolve) => (release = resolve));
    return undefined;
  });
  await vi.advanceTimersByTimeAsync(0);
  made.loop.wake();
  made.loop.wake();
  release();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(made.runs).toBe(2);
  await made.loop.stop();
});

test('wake-ups that come close together share a run', async () => {
  const made = make(async () => undefined, { gapMs: 10 });
  for (let i = 0; i < 9; i++) {
    await vi.advanceTimersByTimeAsync(1);
    made.loop.wake();
  }
  await vi.advanceTimersByTimeAsync(20);
  expect(made.runs).toBe(2);
  await made.loop.stop();
});

test('an error is reported and the loop goes on, more slowly each time', async () => {
  const made = make(async (run) => {
    if (run <= 3) throw new Error(`run ${run}`);
    return undefined;
  });
  await vi.advanceTimersByTimeAsync(100 + 200 + 400);
  expect(made.runs).toBe(4);
  expect(made.errors).toHaveLength(3);
  await made.loop.stop();
});

test('stop waits for the body, but not beyond the bound', async () => {
  const obedient = make(async (_, signal) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    return 0;
  });
  await vi.advanceTimersByTimeAsync(0);
  await expect(obedient.loop.stop()).resolves.toBe(true);
  expect(obedient.runs).toBe(1);

  const deaf = make(() => new Promise(() => undefined));
  await vi.advanceTimersByTimeAsync(0);
  const stopping = deaf.loop.stop(500);
  await vi.advanceTimersByTimeAsync(500);
  await expect(stopping).resolves.toBe(false);
});
