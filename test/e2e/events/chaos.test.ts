/**
 * Whoever subscribes to whatever, and whichever servers and workers die: of every event and every subscription there was for
 * it there is exactly one execution, those of one ordering key run in the order of the log, streams have no gaps, and what is
 * emitted is made once. The history checker says what must be there, from the calls and their answers alone.
 *
 * TAILRACE_TEST_SEED makes the same choices again.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Chance } from '../../support/chance.js';
import { drive } from '../../support/events/drive.js';
import { Recorded } from '../../support/history/recorded.js';
import { Mortal } from '../../support/mortal.js';

const CALLS = 20;
const given = process.env['TAILRACE_TEST_SEED'];

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

test('proof 2, 6, 7: servers and workers die, and everything that is subscribed to starts once', async () => {
  const seed = Number(given ?? Date.now() % 1_000_000);
  console.log(`seed ${seed}`);
  const dice = new Chance(seed);
  const mortals = [1, 2].map(() => new Mortal(recorded, dice.fork()));
  const servers = () => {
    const alive = mortals.flatMap(({ clients }) => clients ?? []);
    return [...alive, ...alive, recorded.clients];
  };
  try {
    // Two publishers, and at least one event per call.
    expect(await drive({ recorded, servers, calls: CALLS, dice })).toBeGreaterThanOrEqual(2 * CALLS);
  } finally {
    await Promise.all(mortals.map((mortal) => mortal.stop()));
  }
  for (const { kills } of mortals) expect(kills).toBeGreaterThan(0);
  const { createdCount } = await recorded.clients.admin.getStats({});
  expect(createdCount).toBeGreaterThan(BigInt(CALLS));
});
