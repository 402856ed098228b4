/**
 * Flows while servers are killed and workers die: what the oracle says holds all the same, each join decides once, and
 * nothing is lost or done twice.
 *
 * A failure prints its seed and path; TAILRACE_TEST_SEED makes the same flows and choices again.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { monotonicMs } from '../../src/runtime/clock.js';
import { Chance } from '../support/chance.js';
import { eventually } from '../support/eventually.js';
import { countedWrong, drive } from '../support/flow-oracle/drive.js';
import { plans } from '../support/flow-oracle/plan.js';
import type { MadeFlow } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { Mortal } from '../support/mortal.js';

const RUNS = 6;
const AT_ONCE = 5;
const MOST_MEMBERS = 20;
const BOUND_MS = 50_000;
/** Flows that it takes to tell anything, however long they last. */
const LEAST = 5;
const given = process.env['TAILRACE_TEST_SEED'];

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

test('servers and workers die, and the engine does as the oracle says', async () => {
  const mortal = new Mortal(recorded, new Chance(Number(given ?? 1)));
  const driven: MadeFlow[] = [];
  const until = monotonicMs() + BOUND_MS;
  // Several at once, because each waits now and then for a lease to end.
  const several = fc.array(plans(MOST_MEMBERS), { minLength: AT_ONCE, maxLength: AT_ONCE });
  const property = fc.asyncProperty(several, async (all) => {
    if (driven.length > LEAST && monotonicMs() > until) return;
    // The first begins with a server that lives, the second with one that came after it: both are killed in any case.
    const before = driven.length > 0 ? 1 : 0;
    if (driven.length <= LEAST) await eventually(() => mortal.clients !== undefined && mortal.kills >= before, 60_000);
    // Most calls go to the one that dies, while it lives.
    const servers = () => (mortal.clients ? [mortal.clients, mortal.clients, recorded.clients] : [recorded.clients]);
    await Promise.all(
      all.map(async (plan) => {
        const { objections, flow } = await drive(plan, { recorded, servers, rough: true, narrow: plan.seed % 2 === 0 });
        expect(objections, JSON.stringify(plan)).toEqual([]);
        driven.push(flow);
      }),
    );
  });
  try {
    await fc.assert(property, {
      numRuns: RUNS,
      ...(given && { seed: Number(given) }),
    });
  } finally {
    await mortal.stop();
  }
  for (const flow of driven) expect(await countedWrong(flow)).toEqual([]);
  expect(driven.length).toBeGreaterThan(LEAST);
  expect(mortal.kills).toBeGreaterThan(1);
});
