/**
 * Waits, limits, budgets and output while servers are killed and workers die: answers are lost with them, so everything is
 * asked again under the key it had. The history is judged: limits hold, each signal serves once, use is what was accepted
 * once, readers are told of every frame.
 *
 * Set TAILRACE_TEST_SEED to make the same choices again; their interleaving is the machine's.
 */
import { ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ErrorDetailSchema } from '../../gen/tailrace/v1/error_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { SuspensionTimeoutBehavior } from '../../gen/tailrace/v1/signal_pb.js';
import { monotonicMs, pause } from '../../src/runtime/clock.js';
import { ItemRefused, seconds } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { Recorded } from '../support/history/recorded.js';
import { Mortal } from '../support/mortal.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const CHAOS_MS = 7_000;
const MADE = 150;
const LANE = 'narrow';
const KEYS = ['a', 'b', ''];
/** Whoever comes too late, or is held back, is told so. */
const EXPECTED = new Set(['LEASE_LOST', 'EXECUTION_TERMINAL', 'NOT_SUSPENDED', 'WRONG_STATE', 'QUOTA_EXCEEDED']);
/** Whoever is told so asks again. */
const PASSING = new Set(['DATABASE_UNAVAILABLE', 'DRAINING', 'CONTENTION']);

const dice = new Chance(Number(process.env['TAILRACE_TEST_SEED'] ?? 1));
let recorded: Recorded;
let mortal: Mortal;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

/** Of the server that dies, while it lives; mostly. */
function anyHand(own: Chance): WaitsByHand {
  const clients = own.percent(70) ? (mortal.clients ?? recorded.clients) : recorded.clients;
  return new WaitsByHand(clients, 'worker', `worker ${own.below(20)}`);
}

/** Again, at whatever server, until there is an answer; undefined for a refusal that is expected. */
async function asked<T>(own: Chance, call: (hand: WaitsByHand) => Promise<T>): Promise<T | undefined> {
  for (let tries = 0; tries < 100; tries++) {
    try {
      return await call(anyHand(own));
    } catch (error) {
      const detail =
        error instanceof ItemRefused ? error.detail : ConnectError.from(error).findDetails(ErrorDetailSchema)[0];
      const reason = detail?.reason ?? '';
      if (EXPECTED.has(reason)) return undefined;
      const isLost = error instanceof ConnectError && reason === '';
      if (!isLost && !PASSING.has(reason)) throw error;
      await pause(20);
    }
  }
  throw new Error('nobody answered a hundred times');
}

async function treat(own: Chance, claim: Claim): Promise<void> {
  const { executionId, attemptNumber } = claim;
  if (own.percent(10)) return; // It dies with what it holds.
  const usage = { coins: BigInt(1 + own.below(5)) };
  if (own.percent(60)) await asked(own, (hand) => hand.report(claim, usage, `of ${claim.lease?.fencingToken}`));
  if (own.percent(30)) {
    await asked(own, (hand) => hand.giveBack(executionId, { coins: 1n }, { idempotencyKey: 'back' }));
  }
  if (claim.resume === undefined && own.percent(60)) {
    for (let count = 0; count < 10; count += 5) {
      const texts = Array.from({ length: 5 }, (_, i) => `${executionId} ${attemptNumber} ${count + i}`);
      await asked(own, (hand) => hand.write(claim, texts, count));
    }
  }
  if (claim.resume === undefined && own.percent(50)) {
    const wait = { timeout: seconds(1 + own.below(2)), timeoutBehavior: SuspensionTimeoutBehavior.RESUME };
    const answer = await asked(own, (hand) => hand.suspend(claim, { ...wait, idempotencyKey: 'the wait' }));
    if (answer === undefined || answer.suspended) return;
  }
  await asked(own, (hand) => hand.complete(claim));
}

test('servers and workers die, and limits, waits, budgets and output are as they were promised', async () => {
  const maker = new WaitsByHand(recorded.clients, 'maker');
  await maker.putQuota('', 9);
  await maker.setLane(LANE, { concurrencyLimit: 7, defaultKeyLimit: 2 });
  await maker.putBudget({
    name: 'purse',
    limits: { coins: { hardLimit: 1_000_000n } },
    attachments: [{ subject: { case: 'lane', value: LANE } }],
  });
  const retryPolicy = { countLostLeases: false, maxReclaims: 1_000 };
  const specs = Array.from({ length: MADE }, (_, i) => ({
    lane: LANE,
    retryPolicy,
    concurrencyKey: KEYS[i % KEYS.length] ?? '',
  }));
  const made = await maker.create(...specs);
  for (const executionId of made.slice(0, 10)) recorded.tail({ name: `tail of ${executionId}`, executionId });

  mortal = new Mortal(recorded, dice.fork());
  const left = async () => {
    const { executions } = await maker.clients.admin.listExecutions({ filter: { lanes: [LANE] }, pageSize: 1_000 });
    return executions.filter(({ state }) => state < ExecutionState.SUCCEEDED).length;
  };
  const until = monotonicMs() + CHAOS_MS;
  const isOver = () => monotonicMs() >= until && mortal.kills > 1;
  const work = async (own: Chance) => {
    while (!isOver() || (await left()) > 0) {
      const ask = {
        lanes: [{ lane: LANE }],
        maxExecutions: 1 + own.below(4),
        wait: seconds(0.1),
        leaseDuration: seconds(2),
      };
      // A claim whose answer is lost is made again, and is another one.
      const claims = (await asked(own, (hand) => hand.claim(ask))) ?? [];
      await Promise.all(claims.map((claim) => treat(own.fork(), claim)));
    }
  };
  const tell = async (own: Chance) => {
    while (!isOver()) {
      const id = own.pick(made) ?? '';
      await asked(own, (hand) => hand.signal(id, 'go', { idempotencyKey: `key ${own.below(3)}` }));
      await pause(30);
    }
  };
  await Promise.all([...Array.from({ length: 5 }, () => work(dice.fork())), tell(dice.fork())]);
  await mortal.stop();
  for (const id of made) expect(await maker.state(id)).toBe(ExecutionState.SUCCEEDED);
  expect(mortal.kills).toBeGreaterThan(1);
});
