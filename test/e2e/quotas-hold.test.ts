/**
 * B2, E14: quotas hold whatever claims, through whichever server, and whoever dies. The history of each test is judged by
 * the limits that were put, too (support/history/limits.ts).
 */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptKind, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { ClaimNextMode } from '../../gen/tailrace/v1/engine_service_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { pause } from '../../src/runtime/clock.js';
import { ByHand, ItemRefused, leaseOf, only, refusal, seconds } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { type Another, Recorded } from '../support/history/recorded.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

let recorded: Recorded;
let another: Another;
let here: WaitsByHand;
let there: WaitsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  another = await recorded.another();
  here = new WaitsByHand(recorded.clients, 'here');
  there = new WaitsByHand(another.clients, 'there');
});
afterAll(() => recorded.stop());

const lanesOf = (...lanes: string[]) => ({ lanes: lanes.map((lane) => ({ lane })), leaseDuration: seconds(60) });

/** How many of each subject ran at once, as those saw it who ran them: never more than really did. */
class Running {
  readonly most = new Map<string, number>();
  readonly #now = new Map<string, number>();

  step(subject: string, by: 1 | -1): void {
    const now = (this.#now.get(subject) ?? 0) + by;
    this.#now.set(subject, now);
    this.most.set(subject, Math.max(this.most.get(subject) ?? 0, now));
  }
}

describe('a limit of what runs at once', () => {
  it('is reached and never passed by many workers at two servers, per lane and in all', async () => {
    const namespace = 'many';
    const lanes = ['a', 'b'];
    const { admin } = recorded.clients;
    await admin.putQuota({ namespace, lane: 'a', concurrencyLimit: 3 });
    await admin.putQuota({ namespace, lane: 'b', concurrencyLimit: 4 });
    await admin.putQuota({ namespace, concurrencyLimit: 5 });
    const workers = Array.from({ length: 12 }, (_, i) => {
      const { clients } = i % 2 === 0 ? recorded : another;
      return new ByHand(clients, 'worker', `worker ${i}`, namespace);
    });
    const [first] = workers;
    // However often one fails for a moment, it is not given up.
    const retryPolicy = { maxAttempts: 1_000 };
    const specs = Array.from({ length: 100 }, (_, i) => ({ lane: lanes[i % 2] ?? '', retryPolicy }));
    const left = new Set(await first?.create(...specs));
    // Held, they fill all that there is room for, and no more.
    const ask = { ...lanesOf(...lanes), maxExecutions: 4 };
    const held: Claim[] = [];
    while (held.length < 5) {
      const asks = workers.map((worker) => worker.claim({ ...ask, wait: seconds(1) }));
      held.push(...(await Promise.all(asks)).flat());
    }
    const more = await Promise.all(workers.map((worker) => worker.claim({ ...ask, wait: seconds(0) })));
    held.push(...more.flat());
    const heldOf = (lane: string) => held.filter((claim) => claim.lane === lane).length;
    expect([held.length, heldOf('a') <= 3, heldOf('b') <= 4]).toEqual([5, true, true]);
    for (const claim of held) await first?.release(claim);

    const random = new Chance(7);
    const running = new Running();
    const work = async (worker: ByHand, claim: Claim) => {
      for (const subject of [claim.lane, 'all']) running.step(subject, 1);
      await pause(random.below(8));
      for (const subject of [claim.lane, 'all']) running.step(subject, -1);
      const way = random.below(10);
      if (way === 0) await worker.release(claim);
      else if (way === 1) await worker.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(0) });
      else await worker.complete(claim).then(() => left.delete(claim.executionId));
    };
    await Promise.all(
      workers.map(async (worker, i) => {
        while (left.size > 0) {
          const claims = await worker.claim({ ...lanesOf(...lanes), maxExecutions: 1 + (i % 5), wait: seconds(1) });
          await Promise.all(claims.map((claim) => work(worker, claim)));
        }
      }),
    );
    for (const [subject, most] of [
      ['a', 3],
      ['b', 4],
      ['all', 5],
    ] as const) {
      expect(running.most.get(subject)).toBeGreaterThan(1);
      expect(running.most.get(subject)).toBeLessThanOrEqual(most);
    }
    const { quotas } = await admin.listQuotas({ namespace });
    expect(quotas.map(({ lane, runningCount }) => [lane, runningCount])).toEqual([
      ['', 0n],
      ['a', 0n],
      ['b', 0n],
    ]);
  });

  it('holds when many claim by name at once', async () => {
    const lane = 'named';
    await here.putQuota(lane, 3);
    const ids = await here.create(...Array.from({ length: 12 }, () => ({ lane })));
    const outcomes = await Promise.all(
      ids.map(async (id, i) => {
        try {
          return await (i % 2 === 0 ? here : there).claimNamed(id);
        } catch (error) {
          return (await refusal(Promise.reject(error))).reason;
        }
      }),
    );
    const claims = outcomes.filter((outcome) => typeof outcome !== 'string');
    expect(claims).toHaveLength(3);
    expect(outcomes.filter((outcome) => outcome === 'QUOTA_EXCEEDED')).toHaveLength(9);
    for (const claim of claims) await here.complete(claim);
    for (const id of ids) await here.cancel(id);
  });

  it('lets the next one start, at another server too, when one ends in any way', async () => {
    const lane = 'next';
    await here.putQuota(lane, 1);
    const from = lanesOf(lane);
    const ways: ((claim: Claim) => Promise<unknown>)[] = [
      (claim) => here.complete(claim),
      (claim) => here.fail(claim, FailureClass.PERMANENT),
      (claim) => here.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(600) }),
      (claim) => here.delay(claim, { delay: seconds(600) }),
      (claim) => here.suspend(claim),
      (claim) => here.waitForChildren(claim, [{ execution: { type: 'child', lane: 'of next' } }]),
      (claim) => here.cancel(claim.executionId, { policy: { mode: CancelMode.NOW } }),
      (claim) => here.release(claim),
    ];
    const ids = await here.create(...ways.map((_, i) => ({ lane, priority: 10 - i })), { lane, priority: -10 });
    let claim = await here.claimOne(from);
    for (const [i, way] of ways.entries()) {
      expect(claim.executionId).toBe(ids[i]);
      expect(await there.claim({ ...from, wait: seconds(0) })).toEqual([]);
      const waiting = there.claimOne(from);
      await way(claim);
      claim = await waiting;
    }
    // A release makes claimable at once, and it comes before what is less urgent.
    expect(claim.executionId).toBe(ids[ways.length - 1]);
    await here.complete(claim);
    await there.complete(await there.claimOne(from));
    for (const id of ids) await here.cancel(id);
  });

  it('counts one that goes on after a wait like one that starts', async () => {
    const lane = 'resumed';
    await here.putQuota(lane, 1);
    const from = lanesOf(lane);
    const [parked = '', other = ''] = await here.create({ lane, priority: 1 }, { lane });
    await here.suspend(await here.claimOne(from));
    const claim = await here.claimOne(from);
    expect(claim.executionId).toBe(other);
    await here.signal(parked);
    expect(await here.state(parked)).toBe(ExecutionState.QUEUED);
    expect(await here.claim({ ...from, wait: seconds(0) })).toEqual([]);
    await here.complete(claim);
    await here.complete(await here.claimOne(from));
  });

  it('loses no slot to workers that die', async () => {
    const lane = 'dying';
    await here.putQuota(lane, 2);
    const from = lanesOf(lane);
    const ids = await here.create(...Array.from({ length: 4 }, () => ({ lane })));
    const dead = await here.claim({ ...from, maxExecutions: 4, leaseDuration: seconds(6) });
    expect(dead).toHaveLength(2);
    expect(await there.claim({ ...from, wait: seconds(0) })).toEqual([]);
    const done: Claim[] = [];
    while (done.length < ids.length) {
      const claims = await there.claim({ ...from, maxExecutions: 4 });
      expect(claims.length).toBeLessThanOrEqual(2);
      for (const claim of claims) await there.complete(claim);
      done.push(...claims);
    }
    const reclaimed = done.filter(({ attemptKind }) => attemptKind === AttemptKind.RECLAIM);
    expect(reclaimed.map(({ executionId }) => executionId).sort()).toEqual(
      dead.map(({ executionId }) => executionId).sort(),
    );
    for (const claim of dead) await expect(here.complete(claim)).rejects.toBeInstanceOf(ItemRefused);
  });

  it('is kept by those that take what they released', async () => {
    const flow = await here.flow({
      members: { a: {}, b: {}, c: {} },
      links: [
        ['a', 'b'],
        ['a', 'c'],
      ],
    });
    await here.putQuota(flow.lane, 1);
    const a = await flow.claim('a');
    const answer = await recorded.clients.engine.completeExecutions({
      completions: [{ lease: leaseOf(a) }],
      claimNext: { mode: ClaimNextMode.SUCCESSORS, maxExecutions: 2, worker: here.worker, types: ['b', 'c'] },
    });
    expect(answer.claims.length).toBeLessThanOrEqual(1);
    for (const claim of answer.claims) await here.complete(claim);
    for (let i = answer.claims.length; i < 2; i++) await here.complete(only(await here.claim(lanesOf(flow.lane))));
    await flow.ended();
  });

  it('lowered lets what runs go on, and starts nothing until there is room', async () => {
    const lane = 'lowered';
    await here.putQuota(lane, 3);
    const from = lanesOf(lane);
    await here.create(...Array.from({ length: 5 }, () => ({ lane })));
    const claims = await here.claim({ ...from, maxExecutions: 5 });
    expect(claims).toHaveLength(3);
    await here.putQuota(lane, 1);
    const [first, second, third] = claims;
    for (const claim of [first, second]) {
      if (claim) await here.complete(claim);
      expect(await there.claim({ ...from, wait: seconds(0) })).toEqual([]);
    }
    const waiting = there.claimOne(from);
    if (third) await here.complete(third);
    const fourth = await waiting;
    await here.putQuota(lane, 0);
    await there.complete(await there.claimOne(from));
    await there.complete(fourth);
  });
});

describe('a limit of what starts in a window', () => {
  it('holds in every window, across servers, and everything starts in time', async () => {
    const lane = 'rated';
    const [limit, windowMs] = [5, 1_000];
    await here.setLane(lane, { rateLimit: { limit, window: seconds(windowMs / 1_000) } });
    const ids = await here.create(...Array.from({ length: 18 }, () => ({ lane })));
    const left = new Set(ids);
    await Promise.all(
      [here, there, here, there].map(async (worker) => {
        while (left.size > 0) {
          const claims = await worker.claim({ ...lanesOf(lane), maxExecutions: 3, wait: seconds(1) });
          for (const claim of claims) {
            await worker.complete(claim);
            left.delete(claim.executionId);
          }
        }
      }),
    );
    const { attempts } = await recorded.clients.admin.listAttempts({ lane, pageSize: 100 });
    const starts = attempts.map(({ startTime }) => (startTime ? timestampMs(startTime) : 0)).sort((a, b) => a - b);
    expect(starts).toHaveLength(ids.length);
    // Times are told in whole milliseconds.
    for (let i = limit; i < starts.length; i++) {
      expect((starts[i] ?? 0) - (starts[i - limit] ?? 0)).toBeGreaterThanOrEqual(windowMs - 1);
    }
  });

  it('counts retries and resumptions as starts, and refuses names with the time to wait', async () => {
    const lane = 'counted';
    await here.setLane(lane, { rateLimit: { limit: 3, window: seconds(300) } });
    const from = lanesOf(lane);
    const id = await here.createOne({ lane });
    await here.fail(await here.claimOne(from), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
    await here.suspend(await here.claimOne(from));
    await here.signal(id);
    await here.release(await here.claimOne(from));
    expect(await there.claim({ ...from, wait: seconds(0) })).toEqual([]);
    const refused = await refusal(there.claimNamed(id));
    expect(refused).toMatchObject({ reason: 'QUOTA_EXCEEDED' });
    expect(refused.retryDelay?.seconds).toBeGreaterThan(10n);
    await here.cancel(id);
  });
});
