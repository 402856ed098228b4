/**
 * Flows as a property: whatever depends on whatever, and however its members end in whatever order, the engine runs,
 * skips and cancels what the oracle says, each join decides once, and the history is sound.
 *
 * A failure prints its seed and path; TAILRACE_TEST_SEED makes the same flows again.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { monotonicMs } from '../../src/runtime/clock.js';
import { countedWrong, drive } from '../support/flow-oracle/drive.js';
import { plans } from '../support/flow-oracle/plan.js';
import type { MadeFlow } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const RUNS = 15;
/** Flows that are driven at once in each run: each waits now and then. One would not always be enough in all. */
const AT_ONCE = { minLength: 2, maxLength: 4 };
const MOST_MEMBERS = 25;
const BOUND_MS = 40_000;
/** Flows that it takes to tell anything, however long they last. */
const LEAST = 20;
const given = process.env['TAILRACE_TEST_SEED'];

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

test.each([
  ['whatever depends on whatever', false],
  ['whatever depends on whatever, where few may run at once and some wait for signals', true],
])('%s, the engine does as the oracle says', async (_, narrow) => {
  const other = await recorded.another();
  const driven: MadeFlow[] = [];
  const until = monotonicMs() + BOUND_MS;
  const servers = () => [recorded.clients, other.clients];
  const several = fc.array(plans(MOST_MEMBERS), { ...AT_ONCE, size: 'max' });
  const property = fc.asyncProperty(several, async (all) => {
    if (driven.length > LEAST && monotonicMs() > until) return;
    await Promise.all(
      all.map(async (plan) => {
        const { objections, flow } = await drive(plan, { recorded, servers, rough: false, narrow });
        expect(objections, JSON.stringify(plan)).toEqual([]);
        driven.push(flow);
      }),
    );
  });
  await fc.assert(property, {
    numRuns: RUNS,
    ...(given && { seed: Number(given) }),
  });
  for (const flow of driven) expect(await countedWrong(flow)).toEqual([]);
  expect(driven.length).toBeGreaterThan(LEAST);
});
