/** Suspensions, signals and timeouts that meet each other, and answers that are lost. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SignalExecutionResponse } from '../../gen/tailrace/v1/engine_service_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { JoinMode, OnSatisfied } from '../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { ResumeCause, SignalEffect, SuspensionTimeoutBehavior } from '../../gen/tailrace/v1/signal_pb.js';
import { pause } from '../../src/runtime/clock.js';
import { leaseOf, only, refusal, seconds } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { eventually } from '../support/eventually.js';
import type { Link } from '../support/flows-by-hand.js';
import { type Another, Recorded } from '../support/history/recorded.js';
import { HoldingProxy } from '../support/holding-proxy.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { WaitsByHand } from '../support/waits-by-hand.js';

const { SATISFIED, APPENDED, BUFFERED, DUPLICATE } = SignalEffect;
const long = { leaseDuration: seconds(60) };
const chance = new Chance(11);

let database: TestDatabase;
let proxy: HoldingProxy;
let recorded: Recorded;
let other: Another;
let hand: WaitsByHand;
/** At another server. */
let far: WaitsByHand;
beforeAll(async () => {
  database = await freshDatabase();
  const before = await HoldingProxy.before(database.url);
  proxy = before.proxy;
  recorded = await Recorded.start({ database, environment: { DATABASE_URL: before.url } });
  other = await recorded.another();
  hand = new WaitsByHand(recorded.clients);
  far = new WaitsByHand(other.clients);
});
afterAll(async () => {
  await recorded.stop();
  await proxy.close();
  await database.drop();
});

const times = (count: number) => Array.from({ length: count }, (_, i) => i);

async function running(count: number): Promise<Claim[]> {
  const ids = await hand.create(...times(count).map(() => ({})));
  return await Promise.all(ids.map((id) => hand.claimNamed(id, long)));
}

/** What a call answered, or the reason for which it was refused. */
async function effectOf(call: Promise<SignalExecutionResponse>): Promise<string> {
  const [answer] = await Promise.allSettled([call]);
  if (answer.status === 'fulfilled') return SignalEffect[answer.value.effect] ?? '';
  return (await refusal(Promise.reject(answer.reason))).reason;
}

async function goOn(executionId: string): Promise<Claim> {
  await eventually(async () => (await hand.state(executionId)) === ExecutionState.QUEUED);
  return await hand.claimNamed(executionId, long);
}

describe('a signal that meets', () => {
  it('the suspension that waits for it is never missed: 200 times', async () => {
    const seen = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const claims = await running(20);
      await Promise.all(
        claims.map(async (claim) => {
          const { executionId } = claim;
          const [first, second] = chance.below(2) === 0 ? [hand, far] : [far, hand];
          const suspended = first.suspend(claim);
          if (chance.below(2) === 0) await pause(chance.below(4));
          const [{ suspended: parked, signals }, { effect }] = await Promise.all([
            suspended,
            second.signal(executionId),
          ]);
          seen.add(`${parked} ${SignalEffect[effect]}`);
          expect(effect).toBe(parked ? SATISFIED : BUFFERED);
          expect(signals).toHaveLength(parked ? 0 : 1);
          const next = parked ? await hand.claimNamed(executionId, long) : claim;
          if (parked) expect(next.resume?.signals).toHaveLength(1);
          await hand.complete(next);
        }),
      );
    }
    expect([...seen].sort()).toEqual(['false BUFFERED', 'true SATISFIED']);
  });

  it('another that completes a count with it lets the execution go on once', async () => {
    const condition = { condition: { case: 'count' as const, value: { count: 2 } } };
    for (let round = 0; round < 5; round++) {
      await Promise.all(
        (await running(20)).map(async (claim) => {
          const { executionId } = claim;
          await hand.suspend(claim, { condition });
          const sent = await Promise.all([hand, far, hand].map((by) => by.signal(executionId)));
          expect(sent.map(({ effect }) => effect).sort()).toEqual([SATISFIED, APPENDED, BUFFERED]);
          const next = await hand.claimNamed(executionId, long);
          expect(next.resume?.signals).toHaveLength(2);
          await hand.complete(next);
        }),
      );
    }
  });

  it('itself at another server counts once', async () => {
    for (const claim of await running(30)) {
      const sent = await Promise.all(
        [hand, far, hand].map((by) => by.signal(claim.executionId, 'x', { idempotencyKey: 'k' })),
      );
      expect(sent.map(({ effect }) => effect).sort()).toEqual([DUPLICATE, DUPLICATE, BUFFERED]);
      expect(new Set(sent.map(({ signalId }) => signalId)).size).toBe(1);
      await hand.complete(claim);
    }
  });

  it('the timeout either comes first or too late', async () => {
    for (const timeoutBehavior of [SuspensionTimeoutBehavior.FAIL, SuspensionTimeoutBehavior.RESUME]) {
      for (let round = 0; round < 4; round++) {
        await Promise.all(
          (await running(12)).map(async (claim, i) => {
            const { executionId } = claim;
            await hand.suspend(claim, { timeout: seconds(0.15), timeoutBehavior });
            await pause(110 + 8 * i);
            const effect = await effectOf(far.signal(executionId));
            if (effect === 'EXECUTION_TERMINAL') {
              expect(await hand.state(executionId)).toBe(ExecutionState.FAILED);
              return;
            }
            const next = await goOn(executionId);
            expect(next.resume?.cause).toBe(effect === 'SATISFIED' ? ResumeCause.SATISFIED : ResumeCause.TIMEOUT);
            expect(next.resume?.signals).toHaveLength(1);
            await hand.complete(next);
          }),
        );
      }
    }
  });

  it('an operator lets the execution go on once, by one of the two', async () => {
    for (const claim of await running(40)) {
      const { executionId } = claim;
      await hand.suspend(claim);
      const [signaled, resumed] = await Promise.allSettled([
        hand.signal(executionId),
        other.clients.admin.resumeExecution({ executionId }),
      ]);
      const { cause } = (await hand.claimNamed(executionId, long).then(async (next) => {
        await hand.complete(next);
        return next.resume;
      })) ?? { cause: ResumeCause.UNSPECIFIED };
      const effect = signaled.status === 'fulfilled' ? signaled.value.effect : undefined;
      expect(effect).toBe(cause === ResumeCause.OPERATOR ? BUFFERED : SATISFIED);
      expect(resumed.status).toBe(cause === ResumeCause.OPERATOR ? 'fulfilled' : 'rejected');
    }
  });

  it('a cancellation finds an execution that goes on, or one that has ended', async () => {
    for (const claim of await running(40)) {
      const { executionId } = claim;
      await hand.suspend(claim);
      const [effect] = await Promise.all([effectOf(hand.signal(executionId)), far.cancel(executionId)]);
      expect(['SATISFIED', 'EXECUTION_TERMINAL']).toContain(effect);
      expect((await hand.end(executionId)).outcome?.state).toBe(ExecutionState.CANCELED);
    }
  });
});

it('timeouts of many that two servers sweep at once do their work once', async () => {
  const claims = await running(60);
  const asked = { timeout: seconds(0.3), timeoutBehavior: SuspensionTimeoutBehavior.RESUME };
  await Promise.all(claims.map((claim, i) => (i % 2 === 0 ? hand : far).suspend(claim, asked)));
  for (const { executionId } of claims) {
    const next = await goOn(executionId);
    expect(only(next.resume?.signals ?? [])).toMatchObject({ name: 'timeout' });
    expect(await hand.suspend(next, { ...asked, idempotencyKey: 'again' })).toMatchObject({
      suspended: true,
      suspensionNumber: 2,
    });
    await hand.cancel(executionId);
  }
});

it('a loser of a join cannot be suspended, and a signal does not help it', async () => {
  const flow = await hand.flow({
    members: { fast: {}, slow: {}, last: {} },
    links: ['fast', 'slow'].map((name): Link => [name, 'last']),
    joins: { last: { mode: JoinMode.ANY, onSatisfied: OnSatisfied.CANCEL_REST } },
  });
  const slow = await flow.claim('slow', long);
  const held = [1, 2].map(() => proxy.hold('sweeping.follow-ups', 'before'));
  await far.signal(slow.executionId, 'go');
  await flow.complete('fast');
  expect((await refusal(hand.suspend(slow))).reason).toBe('WRONG_STATE');
  for (const one of held) one.release();
  await flow.complete('last');
  await flow.ended();
});

describe('a call whose answer was lost', () => {
  const lost = async (statement: string, side: 'before' | 'after', call: () => Promise<unknown>) => {
    const held = proxy.hold(statement, side);
    const refused = refusal(call());
    await held.reached;
    held.cut();
    expect((await refused).reason).toBe('DATABASE_UNAVAILABLE');
    held.release();
  };

  it.each(['before', 'after'] as const)('%s it was done may be repeated', async (side) => {
    const [claim] = await running(1);
    if (claim === undefined) throw new Error('nothing runs');
    const { executionId } = claim;
    const done = side === 'after';
    await lost('suspensions.create-waitpoint', side, () => hand.waitpoint(claim, 'w'));
    const made = await recorded.clients.engine.createWaitpoint({ lease: leaseOf(claim), waitpoint: { key: 'w' } });
    expect(made.duplicate).toBe(done);
    const once = { idempotencyKey: 'k', waitpointKey: 'w' };
    await lost('suspensions.signal', side, () => hand.signal(executionId, 'early', once));
    expect((await hand.signal(executionId, 'early', once)).effect).toBe(done ? DUPLICATE : BUFFERED);
    const first = {
      condition: { condition: { case: 'count' as const, value: { count: 1 } } },
      idempotencyKey: 'first',
    };
    await lost('suspensions.suspend', side, () => hand.suspend(claim, first));
    expect(await hand.suspend(claim, first)).toMatchObject({ suspended: false, duplicate: done, suspensionNumber: 1 });
    await lost('suspensions.suspend', side, () => hand.suspend(claim));
    expect(await hand.suspend(claim)).toMatchObject({ suspended: true, duplicate: done, suspensionNumber: 2 });
    const go = { idempotencyKey: 'go' };
    await lost('suspensions.signal', side, () => hand.signal(executionId, 'go', go));
    expect((await hand.signal(executionId, 'go', go)).effect).toBe(done ? DUPLICATE : SATISFIED);
    const next = await hand.claimNamed(executionId, long);
    expect(next.resume).toMatchObject({ suspensionNumber: 2, signals: [{ name: 'go' }] });
    await hand.complete(next);
  });
});
