/**
 * E3, E14: of a concurrency key no more than its limit stand in line or run, whoever claims and however they end; what waits
 * for it holds up nobody else. Histories are judged by these limits, too (support/history/limits.ts).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { ByHand, seconds } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { type Another, Recorded } from '../support/history/recorded.js';
import { from, KeyedByHand } from '../support/keyed-by-hand.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const { BLOCKED, QUEUED } = ExecutionState;

let recorded: Recorded;
let another: Another;
let hand: KeyedByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  another = await recorded.another();
  hand = new KeyedByHand(recorded.clients);
});
afterAll(() => recorded.stop());

describe('the limit of a key', () => {
  it('is 16 times its weight, the default of its lane, or its own', async () => {
    const lane = 'limits';
    await hand.setLane(lane, {
      keyLimits: [
        { key: 'heavy', weight: 2 },
        { key: 'own', limit: 3, weight: 9 },
      ],
    });
    const inLine = async (concurrencyKey: string) => {
      const states = await hand.statesOf(await hand.keyed(lane, 40, { concurrencyKey }));
      return states.filter((state) => state === QUEUED).length;
    };
    expect(await inLine('light')).toBe(16);
    expect(await inLine('heavy')).toBe(32);
    expect(await inLine('own')).toBe(3);
    await hand.setLane(lane, {
      defaultKeyLimit: 5,
      keyLimits: [
        { key: 'own', limit: 3 },
        { key: 'heavy', weight: 2 },
      ],
    });
    const counts = new Map<string, number>();
    const { executions } = await recorded.clients.admin.listExecutions({
      filter: { lanes: [lane], states: [QUEUED] },
      pageSize: 1_000,
    });
    for (const { concurrencyKey: key } of executions) counts.set(key, (counts.get(key) ?? 0) + 1);
    expect(Object.fromEntries(counts)).toEqual({ light: 5, heavy: 5, own: 3 });
    await hand.finish(lane, 120);
  });

  it('is one of its lane and its namespace', async () => {
    const other = new ByHand(recorded.clients, 'hand', 'hand', 'another');
    for (const lane of ['left', 'right']) await hand.setLane(lane, { defaultKeyLimit: 1 });
    await recorded.clients.admin.updateLane({ namespace: 'another', lane: 'left', settings: { defaultKeyLimit: 1 } });
    const mine = [...(await hand.keyed('left', 1)), ...(await hand.keyed('right', 1))];
    const theirs = await other.createOne({ lane: 'left', concurrencyKey: 'k' });
    expect([...(await hand.statesOf(mine)), await other.state(theirs)]).toEqual([QUEUED, QUEUED, QUEUED]);
    for (const lane of ['left', 'right']) await hand.drain(lane, 1);
    await other.cancel(theirs);
  });

  it('is never passed by many workers at two servers, and everything is done', async () => {
    const lane = 'racing';
    const limits = { a: 1, b: 2, c: 5, '': Number.POSITIVE_INFINITY };
    const keys = Object.keys(limits) as (keyof typeof limits)[];
    await hand.setLane(lane, {
      defaultKeyLimit: 2,
      keyLimits: [
        { key: 'a', limit: 1 },
        { key: 'c', limit: 5 },
      ],
    });
    // Below zero for a moment: a worker may end one before whoever made it is answered.
    let left = 0;
    const running = new Map<string, number>();
    const most = new Map<string, number>();
    const random = new Chance(11);
    const step = (key: string, by: number) => {
      const now = (running.get(key) ?? 0) + by;
      running.set(key, now);
      most.set(key, Math.max(most.get(key) ?? 0, now));
    };
    const work = async (worker: WaitsByHand, claim: Claim) => {
      step(claim.concurrencyKey, -1);
      const way = random.below(12);
      const retryDelay = seconds(random.below(2) / 10);
      if (way === 0) await worker.release(claim);
      else if (way === 1) await worker.fail(claim, FailureClass.RATE_LIMITED, { retryTime: undefined, retryDelay });
      else if (way === 2) await worker.delay(claim, { delay: retryDelay });
      else if (way === 3) {
        // What a former attempt waited for has come, and holds for this one as well: then it is not parked.
        const { suspended } = await worker.suspend(claim);
        await (suspended ? worker.signal(claim.executionId) : worker.release(claim));
      } else if (way === 4) {
        await hand.cancel(claim.executionId, { policy: { mode: CancelMode.NOW } });
        left--;
      } else {
        await worker.complete(claim);
        left--;
      }
    };
    const make = async () => {
      for (let i = 0; i < 12; i++) {
        const specs = Array.from({ length: 8 }, () => ({ lane, concurrencyKey: random.pick(keys) ?? '' }));
        // In two steps: `+=` would read the sum before it waits, and what ends meanwhile be lost.
        const { length } = await hand.create(...specs);
        left += length;
      }
    };
    let made = false;
    await Promise.all([
      make().then(() => {
        made = true;
      }),
      ...Array.from({ length: 8 }, async (_, i) => {
        const { clients } = i % 2 === 0 ? recorded : another;
        const worker = new WaitsByHand(clients, 'worker', `keys ${i}`);
        while (!made || left > 0) {
          const claims = await worker.claim({ ...from(lane), maxExecutions: 1 + (i % 4), wait: seconds(0.5) });
          for (const claim of claims) step(claim.concurrencyKey, 1);
          await Promise.all(claims.map((claim) => work(worker, claim)));
        }
      }),
    ]);
    for (const key of keys) expect(most.get(key) ?? 0, `key "${key}"`).toBeLessThanOrEqual(limits[key]);
  });

  it('lowered takes the least urgent out of line, raised lets them back in', async () => {
    const lane = 'moving';
    await hand.setLane(lane, { defaultKeyLimit: 3 });
    const ids = await hand.keyed(lane, 2);
    ids.push(...(await hand.keyed(lane, 1, { priority: 5 })), ...(await hand.keyed(lane, 1)));
    expect(await hand.statesOf(ids)).toEqual([QUEUED, QUEUED, QUEUED, BLOCKED]);
    const limit = (count: number) => hand.setLane(lane, { defaultKeyLimit: count });
    await limit(1);
    expect(await hand.statesOf(ids)).toEqual([BLOCKED, BLOCKED, QUEUED, BLOCKED]);
    await limit(2);
    expect(await hand.statesOf(ids)).toEqual([QUEUED, BLOCKED, QUEUED, BLOCKED]);
    await limit(4);
    expect(await hand.statesOf(ids)).toEqual([QUEUED, QUEUED, QUEUED, QUEUED]);
    expect((await hand.drain(lane, 4))[0]).toBe(ids[2]);
  });

  it('lowered below what runs lets that go on, and what of it goes back waits', async () => {
    const lane = 'below';
    await hand.setLane(lane, { defaultKeyLimit: 4 });
    const ids = await hand.keyed(lane, 5);
    const claims = await hand.claim({ ...from(lane), maxExecutions: 5 });
    expect(claims).toHaveLength(4);
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [a, b, c, d] = claims;
    if (!a || !b || !c || !d) throw new Error('expected four');
    await hand.release(a);
    await hand.fail(b, FailureClass.TRANSIENT, { retryDelay: seconds(0) });
    expect(await hand.claim({ ...from(lane), wait: seconds(0) })).toEqual([]);
    await hand.complete(c);
    expect(await hand.claim({ ...from(lane), wait: seconds(0) })).toEqual([]);
    expect((await hand.statesOf(ids)).filter((state) => state === BLOCKED)).toHaveLength(3);
    await hand.complete(d);
    expect(new Set(await hand.drain(lane, 3))).toEqual(new Set([a.executionId, b.executionId, ids[4]]));
  });
});

describe('a key that is full', () => {
  it('holds up nobody behind it, however many of it there are', async () => {
    const lane = 'flooded';
    const victims = Array.from({ length: 20 }, (_, i) => `victim ${i}`);
    await hand.keyed(lane, 100, { concurrencyKey: 'flooder' });
    await hand.create(...victims.map((concurrencyKey) => ({ lane, concurrencyKey })));
    const order: string[] = [];
    for (let i = 0; i < 36; i++) {
      const claim = await hand.claimOne(from(lane));
      order.push(claim.concurrencyKey);
      await hand.complete(claim);
    }
    // Sixteen of the flooder stood in line before them; what comes up for those stands behind them.
    expect(order).toEqual([...Array(16).fill('flooder'), ...victims]);
    await hand.finish(lane, 84);
  });

  it('takes turns with others by weight', async () => {
    const lane = 'weighed';
    await hand.setLane(lane, { keyLimits: [{ key: 'heavy', weight: 3 }] });
    await hand.keyed(lane, 200, { concurrencyKey: 'heavy' });
    await hand.keyed(lane, 200, { concurrencyKey: 'light' });
    const counts = new Map<string, number>();
    for (let i = 0; i < 16; i++) {
      for (const claim of await hand.claim({ ...from(lane), maxExecutions: 16 })) {
        counts.set(claim.concurrencyKey, (counts.get(claim.concurrencyKey) ?? 0) + 1);
        await hand.complete(claim);
      }
    }
    expect(counts.get('heavy')).toBeGreaterThan((counts.get('light') ?? 0) * 2);
    expect(counts.get('light')).toBeGreaterThan(40);
    await hand.finish(lane, 144);
  });

  it('goes on with the most urgent of those that wait, then in order of coming', async () => {
    const lane = 'urgent';
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [first = ''] = await hand.keyed(lane, 1);
    const [plain = ''] = await hand.keyed(lane, 1);
    const [low = ''] = await hand.keyed(lane, 1, { priority: -5 });
    const [high = ''] = await hand.keyed(lane, 1, { priority: 5 });
    const [later = ''] = await hand.keyed(lane, 1);
    const [changed = ''] = await hand.keyed(lane, 1);
    await recorded.clients.admin.changeExecution({ executionId: changed, priority: 9 });
    expect(await hand.drain(lane, 6)).toEqual([first, changed, high, plain, later, low]);
  });
});
