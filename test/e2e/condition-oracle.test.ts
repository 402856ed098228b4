/**
 * Waits as a property: whatever an execution waits for, and whatever signals come in whatever order, early or late, once or
 * again, by token or by authority, the engine does as the oracle says, and the history is sound (proof 20).
 *
 * A failure prints its seed and path; TAILRACE_TEST_SEED runs the same plans again.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { monotonicMs } from '../../src/runtime/clock.js';
import { ConditionDrive } from '../support/condition-drive.js';
import { PLAN } from '../support/condition-plan.js';
import { Recorded } from '../support/history/recorded.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const RUNS = 40;
/** Executions that are driven at once in each run. */
const AT_ONCE = 4;
const BOUND_MS = 40_000;
/** Runs that it takes to tell anything, however long they last. */
const LEAST = 10;
const given = process.env['TAILRACE_TEST_SEED'];

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

test('whatever it waits for and whatever comes, the engine does as the oracle says', async () => {
  const other = await recorded.another();
  const hands = [recorded.clients, other.clients].map((clients) => new WaitsByHand(clients));
  const until = monotonicMs() + BOUND_MS;
  let runs = 0;
  const plans = fc.array(PLAN, { minLength: 1, maxLength: AT_ONCE, size: 'max' });
  const property = fc.asyncProperty(plans, async (all) => {
    if (runs > LEAST && monotonicMs() > until) return;
    await Promise.all(all.map((steps) => ConditionDrive.follow(hands, steps)));
    runs++;
  });
  await fc.assert(property, {
    numRuns: RUNS,
    ...(given && { seed: Number(given) }),
  });
  expect(runs).toBeGreaterThan(LEAST);
});
