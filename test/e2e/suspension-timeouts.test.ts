/** What the timeout of a suspension does, and that it does nothing once the suspension is over. */
import { timestampDate, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptOutcome } from '../../gen/tailrace/v1/attempt_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import {
  CountDistinct,
  ResumeCause,
  SignalEffect,
  SignalSource,
  SuspensionReason,
  SuspensionTimeoutBehavior,
} from '../../gen/tailrace/v1/signal_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { only, refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { HeldRows } from '../support/held-rows.js';
import { Recorded } from '../support/history/recorded.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { allOf, named, timeoutOnly, WaitsByHand } from '../support/waits-by-hand.js';

const { FAIL, CANCEL, EXPIRE, RESUME, ESCALATE } = SuspensionTimeoutBehavior;
const { SUSPENDED, QUEUED, FAILED, CANCELED, EXPIRED } = ExecutionState;
const long = { leaseDuration: seconds(60) };
const soon = { timeout: seconds(0.2) };

let database: TestDatabase;
let recorded: Recorded;
let hand: WaitsByHand;
beforeAll(async () => {
  database = await freshDatabase();
  // Whoever waits for a lock keeps those it has: a try that ended would let go of them.
  const url = new URL(database.url);
  url.searchParams.set('options', '-c lock_timeout=30s');
  recorded = await Recorded.start({ database, environment: { DATABASE_URL: url.href } });
  hand = new WaitsByHand(recorded.clients);
});
afterAll(async () => {
  await recorded.stop();
  await database.drop();
});

async function running(spec = {}) {
  return await hand.claimNamed(await hand.createOne(spec), long);
}

/** Once it is claimable again. */
async function resumed({ executionId }: Claim): Promise<Claim> {
  await eventually(async () => (await hand.state(executionId)) === QUEUED);
  return await hand.claimNamed(executionId, long);
}

describe('a timeout', () => {
  it.each([
    ['fails it, with a dead letter', FAIL, FAILED, EndReason.SUSPENSION_TIMEOUT, AttemptOutcome.FAILED],
    ['cancels it', CANCEL, CANCELED, EndReason.SUSPENSION_CANCELED, AttemptOutcome.CANCELED],
    ['expires it, with a dead letter', EXPIRE, EXPIRED, EndReason.SUSPENSION_TIMEOUT, AttemptOutcome.EXPIRED],
  ])('%s', async (_, timeoutBehavior, state, reason, outcome) => {
    const claim = await running();
    const { executionId } = claim;
    const before = wallMs();
    const { timeoutTime } = await hand.suspend(claim, { ...soon, timeoutBehavior });
    expect((timeoutTime && timestampDate(timeoutTime).getTime()) ?? 0).toBeGreaterThanOrEqual(before);
    const { outcome: end } = await hand.end(executionId);
    expect(end).toMatchObject({ state, reason });
    expect(end?.deadLetterId === '').toBe(state === CANCELED);
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId });
    expect(only(attempts)).toMatchObject({ attemptNumber: 1, outcome });
    expect((await refusal(hand.signal(executionId))).reason).toBe('EXECUTION_TERMINAL');
  });

  it('fails it unless told otherwise', async () => {
    const claim = await running();
    await hand.suspend(claim, soon);
    expect((await hand.end(claim.executionId)).outcome?.state).toBe(FAILED);
  });

  it('lets it go on with a signal of the engine', async () => {
    const claim = await running();
    await hand.suspend(claim, { ...soon, timeoutBehavior: RESUME, condition: allOf(named('a'), named('b')) });
    await hand.signal(claim.executionId, 'a');
    const next = await resumed(claim);
    expect(next).toMatchObject({
      attemptNumber: 1,
      resume: { cause: ResumeCause.TIMEOUT, signals: [{ name: 'timeout', source: SignalSource.ENGINE }] },
    });
    // What came and did not suffice is kept.
    expect(await hand.suspend(next, { condition: named('a') })).toMatchObject({
      suspended: false,
      suspensionNumber: 2,
    });
    await hand.complete(next);
  });

  it('is all that a sleep waits for', async () => {
    const [claim, asleep] = [await running(), await running()];
    await hand.suspend(asleep, { timeout: seconds(600), condition: timeoutOnly });
    expect((await hand.signal(asleep.executionId)).effect).toBe(SignalEffect.APPENDED);
    expect(await hand.state(asleep.executionId)).toBe(SUSPENDED);
    await hand.cancel(asleep.executionId);
    await hand.suspend(claim, { ...soon, condition: timeoutOnly });
    await hand.signal(claim.executionId);
    const next = await resumed(claim);
    expect(next.resume).toMatchObject({ cause: ResumeCause.TIMEOUT });
    await hand.complete(next);
  });

  it('hands it to an operator, whom no signal forestalls', async () => {
    const [first, second] = [await running(), await running()];
    const { admin } = recorded.clients;
    for (const claim of [first, second]) {
      const { executionId } = claim;
      await hand.suspend(claim, { ...soon, timeoutBehavior: ESCALATE });
      await eventually(async () => (await hand.execution(executionId)).suspension?.escalated ?? false);
      expect((await hand.execution(executionId)).suspension?.reason).toBe(SuspensionReason.OPERATOR_REVIEW);
      expect((await hand.signal(executionId)).effect).toBe(SignalEffect.APPENDED);
      expect(await hand.state(executionId)).toBe(SUSPENDED);
    }
    await admin.resumeExecution({ executionId: first.executionId });
    const next = await resumed(first);
    expect(next.resume?.cause).toBe(ResumeCause.OPERATOR);
    await hand.complete(next);
    await hand.cancel(second.executionId);
    expect((await hand.end(second.executionId)).outcome?.state).toBe(CANCELED);
  });
});

describe('a timeout of a suspension that is over', () => {
  it('does nothing', async () => {
    const claims = await Promise.all(
      [FAIL, CANCEL, EXPIRE, RESUME, ESCALATE].map(async (timeoutBehavior) => {
        const claim = await running();
        await hand.suspend(claim, { timeout: seconds(5), timeoutBehavior });
        await hand.signal(claim.executionId);
        return await hand.claimNamed(claim.executionId, long);
      }),
    );
    // Suspended after them, with an end before the sweep is over that would end them too.
    const later = await running();
    await hand.suspend(later, { timeout: seconds(5.1), timeoutBehavior: CANCEL });
    await hand.end(later.executionId);
    for (const claim of claims) {
      expect(await hand.renew(claim)).toBeDefined();
      expect(await hand.matched(claim)).toMatchObject([{ name: 'go' }]);
      expect((await hand.suspend(claim)).suspensionNumber).toBe(2);
      await hand.signal(claim.executionId);
      await hand.complete(await hand.claimNamed(claim.executionId, long));
    }
  });
});

describe('a suspended execution', () => {
  it('expires at its deadline, and leaves a dead letter', async () => {
    const claim = await running({ deadlineTime: timestampFromMs(wallMs() + 5_000) });
    await hand.suspend(claim);
    expect((await hand.end(claim.executionId)).outcome).toMatchObject({
      state: EXPIRED,
      reason: EndReason.DEADLINE,
    });
  });

  it('keeps what is left of its attempt timeout for when it goes on', async () => {
    const claim = await running({ attemptTimeout: seconds(5), retryPolicy: { maxAttempts: 1 } });
    await hand.suspend(claim, { ...soon, condition: timeoutOnly });
    await hand.suspend(await resumed(claim), { timeout: seconds(1.2), condition: timeoutOnly });
    const next = await resumed(claim);
    expect(next.resume?.suspensionNumber).toBe(2);
    const [first, last] = [claim, next].map(({ attemptTimeoutTime: at }) =>
      at ? timestampDate(at).getTime() : Number.NaN,
    );
    // By as much as it has slept.
    expect((last ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(1_399);
    expect((await hand.end(claim.executionId)).outcome).toMatchObject({
      state: FAILED,
      reason: EndReason.TIMEOUT,
    });
  });

  it('times out with the last waitpoint without which nothing can satisfy it', async () => {
    const expiring = (key: string, span: number) => ({ key, expiry: seconds(span) });
    const among = [{ waitpointKey: 'a' }, { waitpointKey: 'b' }];
    const any = { condition: { case: 'count' as const, value: { count: 1, among } } };
    const both = {
      condition: { case: 'count' as const, value: { count: 2, distinct: CountDistinct.WAITPOINTS, among } },
    };
    const [one, other, kept] = [await running(), await running(), await running()];
    await hand.suspend(one, { condition: both, waitpoints: [expiring('a', 1), expiring('b', 3_600)] });
    await hand.suspend(other, {
      condition: any,
      waitpoints: [expiring('a', 1), expiring('b', 6)],
      timeoutBehavior: RESUME,
    });
    await hand.suspend(kept, { condition: both, waitpoints: [expiring('a', 5), expiring('b', 3_600)] });
    await hand.signal(kept.executionId, 'in time', { waitpointKey: 'a' });
    expect((await hand.end(one.executionId)).outcome).toMatchObject({
      state: FAILED,
      reason: EndReason.SUSPENSION_TIMEOUT,
    });
    expect(await hand.state(other.executionId)).toBe(SUSPENDED);
    const next = await resumed(other);
    expect(next.resume).toMatchObject({ cause: ResumeCause.TIMEOUT });
    await hand.complete(next);
    expect((await hand.signal(kept.executionId, 'too', { waitpointKey: 'b' })).effect).toBe(SignalEffect.SATISFIED);
    await hand.complete(await hand.claimNamed(kept.executionId, long));
  });

  it('times out as well when that waitpoint expires while it is being parked', async () => {
    const condition = {
      condition: { case: 'count' as const, value: { count: 2, distinct: CountDistinct.WAITPOINTS } },
    };
    const [claim, other] = [await running(), await running()];
    await hand.waitpoint(claim, 'kept');
    await hand.waitpoint(claim, 'expiring', { expiry: seconds(5) });
    await hand.waitpoint(other, 'expiring next', { expiry: seconds(5) });
    const held = await HeldRows.start(database);
    await held.holdTable('suspension');
    const suspended = hand.suspend(claim, { condition });
    await eventually(() => held.keepsWaiting('suspend'));
    await eventually(() => held.sees('waitpoint', { key: 'expiring next', state: 3 }));
    await held.release();
    expect((await suspended).suspended).toBe(true);
    expect((await hand.end(claim.executionId)).outcome).toMatchObject({
      state: FAILED,
      reason: EndReason.SUSPENSION_TIMEOUT,
    });
    await hand.complete(other);
  });
});
