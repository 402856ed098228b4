/** How late timers go off: a single long turn is no overload, several in a row are, and one that comes in time ends it. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { monotonicMs } from '../../../src/runtime/clock.js';
import { Lateness } from '../../../src/runtime/lateness.js';

const LATE_MS = 250;

let lateness: Lateness;
beforeEach(() => {
  lateness = new Lateness();
  lateness.start();
});
afterEach(() => lateness.stop());

function occupy(ms: number): void {
  for (const untilMs = monotonicMs() + ms; monotonicMs() < untilMs; );
}

/** Turns of so long, one after the other, until it holds; timers get a chance in between. */
async function occupyUntil(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !holds(); i++) {
    occupy(2 * LATE_MS);
    await pause(0);
  }
  expect(holds()).toBe(true);
}

test('one long turn is not late, and those that follow one another are', async () => {
  expect(lateness.ms).toBe(0);
  occupy(4 * LATE_MS);
  await pause(0);
  expect(lateness.ms).toBe(0);
  await occupyUntil(() => lateness.ms > LATE_MS);
});

test('it is over once a tick comes in time', async () => {
  await occupyUntil(() => lateness.ms > LATE_MS);
  await vi.waitFor(() => expect(lateness.ms).toBeLessThan(LATE_MS), { timeout: 10_000 });
});

test('how late ticks were is told once', async () => {
  expect(lateness.delay().max).toBe(0);
  await occupyUntil(() => lateness.ms > LATE_MS);
  const { max, p50 } = lateness.delay();
  expect(max).toBeGreaterThanOrEqual(p50);
  expect(max).toBeGreaterThan(LATE_MS / 1_000);
  expect(lateness.delay().max).toBe(0);
});
