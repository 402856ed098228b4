/**
 * Crash points of limits: slots are leases and rows in line, so a server that dies after any statement leaks none. Who is
 * behind a limit starts as soon as there is room, and never more start than may.
 */
import { describe, expect, test } from 'vitest';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { leaseOf, refusal, seconds } from '../support/by-hand.js';
import { crashAt, type Operation } from '../support/crash-point.js';
import { eventually } from '../support/eventually.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const { BLOCKED, QUEUED, RUNNING } = ExecutionState;
const long = { leaseDuration: seconds(600) };
const MANY = 600;

let lanes = 0;
const newLane = () => `lane ${++lanes}`;
const from = (lane: string) => ({ lanes: [{ lane }], ...long });

async function fill(hand: WaitsByHand, lane: string, count: number, more = {}): Promise<string[]> {
  return await hand.create(...Array.from({ length: count }, () => ({ lane, ...more })));
}

async function countIn(hand: WaitsByHand, lane: string, state: ExecutionState): Promise<number> {
  const { executions } = await hand.clients.admin.listExecutions({
    filter: { lanes: [lane], states: [state] },
    pageSize: 1_000,
  });
  return executions.length;
}

/** All of a lane, never more than so many at once, each once; then its slots are free again. */
async function drain(hand: WaitsByHand, lane: string, count: number, most: number): Promise<void> {
  const done = new Set<string>();
  const held: Claim[] = [];
  while (done.size < count) {
    const wait = seconds(held.length > 0 ? 0 : 20);
    held.push(...(await hand.claim({ ...from(lane), maxExecutions: 500, wait })));
    expect(await countIn(hand, lane, RUNNING)).toBeLessThanOrEqual(most);
    const next = held.splice(0, Math.ceil(held.length / 2));
    if (next.length === 0) throw new Error(`${done.size} of ${count} were claimed, and no more`);
    for (const claim of next) done.add(claim.executionId);
    await hand.clients.engine.completeExecutions({
      completions: next.map((claim) => ({ lease: leaseOf(claim) })),
    });
  }
  expect(done.size).toBe(count);
  const { quotas } = await hand.clients.admin.listQuotas({ pageSize: 1_000 });
  expect(quotas.filter(({ runningCount }) => runningCount > 0n)).toEqual([]);
}

/** Claims that nobody was told of go back when they are not begun. */
const unheard = (most: number, ask: (hand: WaitsByHand, lane: string) => Promise<unknown>): Operation['prepare'] => {
  return async (hand) => {
    const lane = newLane();
    await hand.setLane(lane, { concurrencyLimit: most });
    await fill(hand, lane, 3 * most);
    return {
      act: async (caller) => await ask(caller, lane),
      finished: async (there) => await drain(there, lane, 3 * most, most),
    };
  };
};

/** One of a key, with another one behind it; a call of its holder gives the slot up. */
const givingUp = (
  way: (hand: WaitsByHand, claim: Claim) => Promise<unknown>,
  becomes: (hand: WaitsByHand, first: Claim, lane: string) => Promise<unknown>,
): Operation['prepare'] => {
  return async (hand) => {
    const lane = newLane();
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [, second] = await fill(hand, lane, 2, { concurrencyKey: 'one at a time' });
    const first = await hand.claimOne(from(lane));
    return {
      act: async (caller) => await way(caller, first),
      finished: async (there) => {
        const next = await there.claimOne(from(lane));
        expect(next.executionId).toBe(second);
        await there.complete(next);
        await becomes(there, first, lane);
      },
    };
  };
};

const comesAgain = async (hand: WaitsByHand, { executionId }: Claim, lane: string) => {
  const again = await hand.claimOne(from(lane));
  expect(again.executionId).toBe(executionId);
  await hand.complete(again);
};

const OPERATIONS: Readonly<Record<string, Operation>> = {
  "a claim under a lane's limit": {
    matters: /^claims\.claim$/,
    points: [1],
    prepare: unheard(3, async (hand, lane) => {
      await hand.claim({ ...from(lane), maxExecutions: 5, wait: seconds(0), startWithin: seconds(0.5) });
    }),
  },
  "a claim by name under a lane's limit": {
    matters: /^claims\.claim-one$/,
    points: [1],
    prepare: unheard(1, async (hand, lane) => {
      const { executions } = await hand.clients.admin.listExecutions({ filter: { lanes: [lane] } });
      const ask = { ...long, startWithin: seconds(0.5) };
      await hand.claimNamed(executions[0]?.executionId ?? '', ask).catch((error) => refusal(Promise.reject(error)));
    }),
  },
  'a lease that ends under a limit': {
    matters: /^sweeping\.leases$/,
    points: [1],
    prepare: unheard(2, async (hand, lane) => {
      await hand.claim({ ...from(lane), maxExecutions: 5, wait: seconds(0), leaseDuration: seconds(1) });
    }),
  },
  'an end that hands the slot of its key on': {
    matters: /^leases\.end$/,
    points: [1],
    prepare: givingUp(
      (hand, claim) => hand.complete(claim),
      async (hand, { executionId }) => expect((await hand.end(executionId)).state).toBe(ExecutionState.SUCCEEDED),
    ),
  },
  'a release that asks for its slot again': {
    matters: /^leases\.end$/,
    points: [1],
    prepare: async (hand) => {
      const lane = newLane();
      await hand.setLane(lane, { defaultKeyLimit: 1 });
      await fill(hand, lane, 2, { concurrencyKey: 'one at a time' });
      const first = await hand.claimOne(from(lane));
      return {
        act: async (caller) => await caller.release(first),
        finished: async (there) => await drain(there, lane, 2, 1),
      };
    },
  },
  'a delay that gives its slot up': {
    matters: /^leases\.end$/,
    points: [1],
    prepare: givingUp((hand, claim) => hand.delay(claim, { delay: seconds(0.5) }), comesAgain),
  },
  'a cancel that gives a slot up': {
    matters: /^executions\.cancel$/,
    points: [1],
    prepare: givingUp(
      (hand, { executionId }) => hand.cancel(executionId, { policy: { mode: CancelMode.NOW } }),
      async (hand, { executionId }) => expect((await hand.end(executionId)).state).toBe(ExecutionState.CANCELED),
    ),
  },
  'the limit of a key that is raised': {
    matters: /^lanes\.change$|^sweeping\.follow-ups$/,
    points: [1, 2],
    prepare: async (hand) => {
      const lane = newLane();
      await hand.setLane(lane, { defaultKeyLimit: 1 });
      await fill(hand, lane, MANY, { concurrencyKey: 'many' });
      expect(await countIn(hand, lane, BLOCKED)).toBe(MANY - 1);
      return {
        act: async (caller) => await caller.setLane(lane, { defaultKeyLimit: MANY }),
        finished: async (there) => {
          await eventually(async () => (await countIn(there, lane, QUEUED)) === MANY);
          await drain(there, lane, MANY, MANY);
        },
      };
    },
  },
  'the limit of a key that is lowered': {
    matters: /^lanes\.change$|^sweeping\.follow-ups$/,
    points: [1, 2],
    prepare: async (hand) => {
      const lane = newLane();
      await hand.setLane(lane, { defaultKeyLimit: MANY });
      await fill(hand, lane, MANY, { concurrencyKey: 'many' });
      return {
        act: async (caller) => await caller.setLane(lane, { defaultKeyLimit: 400 }),
        finished: async (there) => {
          await eventually(async () => (await countIn(there, lane, QUEUED)) === 400);
          expect(await countIn(there, lane, BLOCKED)).toBe(MANY - 400);
          await drain(there, lane, MANY, 400);
        },
      };
    },
  },
};

describe.concurrent.each(Object.entries(OPERATIONS))('%s', (_, operation) => {
  test.each(operation.points)('leaks nothing when a server dies after statement %i', async (point) => {
    await crashAt(point, operation, (clients) => new WaitsByHand(clients));
  });
});
