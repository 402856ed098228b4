/** Work that goes back without a failure: delayed, released, revoked; and waiting work that is changed (E5, E9, E15). */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptKind, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { type ByHand, leaseOf, refusal, seconds } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { SCHEDULED, QUEUED, RUNNING, SUCCEEDED } = ExecutionState;
/** Whatever counted would end it. */
const fragile = { retryPolicy: { maxAttempts: 1, maxReclaims: 1 } };

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

async function running(spec: Parameters<ByHand['createOne']>[0] = {}): Promise<Claim> {
  return await hand.claimNamed(await hand.createOne({ ...fragile, ...spec }), { leaseDuration: seconds(600) });
}

describe('E9: a delay', () => {
  it('runs again at its time, and counts nothing, however often', async () => {
    const lane = 'delayed';
    let claim = await running({ lane });
    for (let attempt = 2; attempt <= 8; attempt++) {
      expect(await hand.delay(claim, { delay: seconds(0.02), reason: 'not yet' })).toMatchObject({ state: SCHEDULED });
      claim = await hand.claimOne({ lanes: [{ lane }] });
      expect(claim).toMatchObject({ attemptNumber: attempt, attemptKind: AttemptKind.CONTINUATION, failureCount: 0 });
    }
    await hand.complete(claim);
  });

  it('until a time is that time, and until a past one is now', async () => {
    const runTime = timestampFromMs(wallMs() + 3_600_000);
    expect(await hand.delay(await running(), { runTime })).toMatchObject({ state: SCHEDULED, runTime });
    const past = timestampFromMs(wallMs() - 3_600_000);
    expect(await hand.delay(await running(), { runTime: past })).toMatchObject({ state: QUEUED });
    expect(await hand.delay(await running(), { delay: seconds(0) })).toMatchObject({ state: QUEUED });
  });

  it('needs exactly one of time and span', async () => {
    const claim = await running();
    for (const until of [{}, { delay: seconds(1), runTime: timestampFromMs(wallMs()) }]) {
      expect(await refusal(hand.delay(claim, until))).toMatchObject({ reason: 'INVALID_FIELD' });
    }
    await hand.complete(claim);
  });

  it('that is repeated answers the first answer until the next claim', async () => {
    const claim = await running();
    const { runTime } = await hand.delay(claim, { delay: seconds(60) });
    expect(await hand.delay(claim, { delay: seconds(60) })).toMatchObject({
      state: SCHEDULED,
      runTime,
      duplicate: true,
    });
    expect(await refusal(hand.delay(claim, { delay: seconds(61) }))).toMatchObject({
      reason: 'LEASE_LOST',
      metadata: { why: 'other_content' },
    });
  });
});

describe('E5: a release', () => {
  it('is claimable at once, and counts nothing, however often', async () => {
    let claim = await running({ lane: 'released' });
    for (let attempt = 2; attempt <= 8; attempt++) {
      expect(await hand.release(claim)).toMatchObject({ state: QUEUED, duplicate: false });
      claim = await hand.claimOne({ lanes: [{ lane: 'released' }], wait: seconds(0) });
      expect(claim).toMatchObject({ attemptNumber: attempt, attemptKind: AttemptKind.CONTINUATION, failureCount: 0 });
    }
    await hand.complete(claim);
  });

  it('of many answers each lease for itself', async () => {
    const [one, ended, other] = [await running(), await running(), await running()];
    await hand.complete(ended);
    const leases = [one, ended, other].map(leaseOf);
    const { results } = await recorded.clients.engine.releaseLeases({ leases });
    expect(results.map(({ result }) => result.case)).toEqual(['ok', 'error', 'ok']);
  });
});

describe('E5: a lease revoked by an operator', () => {
  it('is lost to its holder, whose work goes back uncounted', async () => {
    const claim = await running({ lane: 'revoked' });
    const { executionId, lease } = claim;
    const revoked = await recorded.clients.admin.revokeLease({ executionId, reason: 'stuck' });
    expect(revoked).toMatchObject({ state: QUEUED, revokedLease: { fencingToken: lease?.fencingToken } });
    for (const call of [() => hand.renew(claim), () => hand.complete(claim), () => hand.progress(claim, 1)]) {
      expect(await refusal(call())).toMatchObject({ reason: 'LEASE_LOST', metadata: { why: 'revoked' } });
    }
    const next = await hand.claimOne({ lanes: [{ lane: 'revoked' }] });
    expect(next).toMatchObject({ attemptNumber: 2, attemptKind: AttemptKind.CONTINUATION, failureCount: 0 });
    expect(await refusal(hand.complete(claim))).toMatchObject({ reason: 'LEASE_LOST' });
    await hand.complete(next);
    expect(await refusal(hand.complete(claim))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
  });

  it('is the one that was seen, or none', async () => {
    const claim = await running();
    const { executionId } = claim;
    const fencingToken = (claim.lease?.fencingToken ?? 0n) + 1n;
    const { admin } = recorded.clients;
    expect(await refusal(admin.revokeLease({ executionId, fencingToken }))).toMatchObject({ reason: 'WRONG_STATE' });
    await hand.complete(claim);
    expect(await refusal(admin.revokeLease({ executionId }))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
  });
});

describe('E15: waiting work that is changed', () => {
  const change = (executionId: string, what: { priority?: number; runTime?: ReturnType<typeof timestampFromMs> }) =>
    recorded.clients.admin.changeExecution({ executionId, ...what });
  const hour = () => timestampFromMs(wallMs() + 3_600_000);

  it('overtakes with its new priority', async () => {
    const lane = 'overtaking';
    const ids = await hand.create({ lane }, { lane }, { lane, priority: 5 });
    const { execution } = await change(ids[1] ?? '', { priority: 6 });
    expect(execution).toMatchObject({ priority: 6, state: QUEUED });
    const claims = await hand.claim({ lanes: [{ lane }], maxExecutions: 3 });
    expect(claims.map(({ executionId }) => executionId)).toEqual([ids[1], ids[2], ids[0]]);
  });

  it('waits for its new time, or no longer', async () => {
    const lane = 'rescheduled';
    const id = await hand.createOne({ lane });
    const runTime = hour();
    expect((await change(id, { runTime })).execution).toMatchObject({ state: SCHEDULED, runTime });
    expect(await hand.claim({ lanes: [{ lane }], wait: seconds(0) })).toEqual([]);
    const waiting = hand.claimOne({ lanes: [{ lane }] });
    // The answer shows it as it stands then: the waiting claim may have it already.
    const { execution } = await change(id, { runTime: timestampFromMs(wallMs() - 1) });
    expect([QUEUED, RUNNING]).toContain(execution?.state);
    expect((await waiting).executionId).toBe(id);
    await hand.complete(await waiting);
  });

  it('between two attempts keeps what it has been through', async () => {
    const claim = await running({ retryPolicy: { maxAttempts: 3 } });
    await hand.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(3_600) });
    await change(claim.executionId, { runTime: timestampFromMs(wallMs() - 1), priority: -9 });
    const next = await hand.claimNamed(claim.executionId);
    expect(next).toMatchObject({ attemptNumber: 2, attemptKind: AttemptKind.RETRY, failureCount: 1, priority: -9 });
    await hand.complete(next);
  });

  it('is no running or ended work', async () => {
    const claim = await running();
    const { executionId } = claim;
    expect(await refusal(change(executionId, { priority: 1 }))).toMatchObject({
      reason: 'WRONG_STATE',
      metadata: { state: ExecutionState[RUNNING] },
    });
    await hand.complete(claim);
    expect(await refusal(change(executionId, { priority: 1 }))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
    expect(await hand.state(executionId)).toBe(SUCCEEDED);
  });

  it('is told in the log, with what it moved from and to', async () => {
    const id = await hand.createOne({ lane: 'logged' });
    await change(id, { runTime: hour() });
    const entry = await recorded.log.entry(
      ({ executionId, kind }) => executionId === id && kind === LogEntryKind.EXECUTION_CHANGED,
    );
    expect(entry).toMatchObject({ fromState: QUEUED, toState: SCHEDULED });
  });
});
