/** Cancel in every state and with every policy, repeated, by the holder, and with completions that come late (E10). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelEffect, CancelMode, LateCompletion } from '../../gen/tailrace/v1/cancel_pb.js';
import { FailureEffect } from '../../gen/tailrace/v1/engine_service_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { type ByHand, leaseOf, refusal, seconds } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { SCHEDULED, QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELED } = ExecutionState;
const { COOPERATIVE, NOW } = CancelMode;
const { ACCEPTED, REFUSED } = LateCompletion;
const { EXECUTION_CANCEL_REQUESTED } = LogEntryKind;
const POLICIES = {
  default: {},
  now: { policy: { mode: NOW } },
  cooperative: { policy: { mode: COOPERATIVE } },
  'cooperative, refusing': { policy: { mode: COOPERATIVE, lateCompletion: REFUSED } },
} as const;

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

async function running(spec = {}): Promise<Claim> {
  return await hand.claimNamed(await hand.createOne(spec), { leaseDuration: seconds(60) });
}

describe.each(Object.entries(POLICIES))('proof 35: with policy %s', (_, policy) => {
  it('waiting work ends in the call, whether it is due or not', async () => {
    for (const spec of [{}, { delay: seconds(60) }]) {
      const id = await hand.createOne(spec);
      const { execution, outcome } = await hand.cancel(id, { ...policy, reason: 'not needed' });
      expect(execution).toMatchObject({ effect: CancelEffect.ENDED, state: CANCELED });
      expect(outcome).toMatchObject({
        state: CANCELED,
        reason: EndReason.CANCEL_REQUESTED,
        cancelReason: 'not needed',
        attemptNumber: 0,
        deadLetterId: '',
      });
      await expect(refusal(hand.claimNamed(id))).resolves.toMatchObject({ reason: 'EXECUTION_TERMINAL' });
    }
  });

  it('work that waits for its next attempt ends in the call, with its attempts', async () => {
    const claim = await running();
    await hand.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(60) });
    const { execution, outcome } = await hand.cancel(claim.executionId, policy);
    expect(execution).toMatchObject({ effect: CancelEffect.ENDED, state: CANCELED });
    expect(outcome?.attemptNumber).toBe(1);
  });

  it.each([
    ['SUCCEEDED', SUCCEEDED, (claim: Claim) => hand.complete(claim)],
    ['FAILED', FAILED, (claim: Claim) => hand.fail(claim, FailureClass.PERMANENT)],
    ['CANCELED', CANCELED, (claim: Claim) => hand.cancel(claim.executionId, { policy: { mode: NOW } })],
  ])('work that has ended %s keeps its outcome', async (_name, state, end) => {
    const claim = await running();
    await end(claim);
    const before = await hand.look(claim.executionId);
    const { execution, outcome } = await hand.cancel(claim.executionId, { ...policy, reason: 'too late' });
    expect(execution).toMatchObject({ effect: CancelEffect.ALREADY_TERMINAL, state });
    expect(outcome).toEqual(before.outcome);
    expect(execution?.endTime).toEqual(before.outcome?.endTime);
  });

  it('an unknown execution is not found', async () => {
    const unknown = '0198c0de-0000-7000-8000-000000000000';
    await expect(refusal(hand.cancel(unknown, policy))).resolves.toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
  });
});

describe('proof 35: running work', () => {
  it('ends in the call with NOW, and its holder can do nothing any more', async () => {
    const claim = await running();
    const { execution, outcome } = await hand.cancel(claim.executionId, { policy: { mode: NOW }, reason: 'stop' });
    expect(execution).toMatchObject({ effect: CancelEffect.ENDED, state: CANCELED });
    expect(outcome).toMatchObject({ attemptNumber: 1, reason: EndReason.CANCEL_REQUESTED, cancelReason: 'stop' });
    const calls = [
      () => hand.renew(claim),
      () => hand.progress(claim, 1),
      () => hand.complete(claim),
      () => hand.fail(claim, FailureClass.TRANSIENT),
      () => hand.release(claim),
      () => hand.delay(claim, { delay: seconds(1) }),
    ];
    for (const call of calls) {
      const detail = await refusal(call());
      expect(detail).toMatchObject({ reason: 'EXECUTION_TERMINAL', metadata: { state: 'CANCELED' } });
    }
  });

  it('goes on when it is asked to stop, and its holder hears of it from renewals and progress', async () => {
    const claim = await running();
    expect(await hand.progress(claim, 10)).toBe(false);
    const asked = await hand.cancel(claim.executionId, { reason: 'please', policy: { grace: seconds(30) } });
    expect(asked.execution).toMatchObject({ effect: CancelEffect.REQUESTED, state: RUNNING });
    expect(asked.outcome).toBeUndefined();
    const { cancelRequest, expireTime } = await hand.renew(claim);
    expect(cancelRequest).toMatchObject({ reason: 'please', lateCompletion: ACCEPTED });
    const grace = Number((cancelRequest?.graceEndTime?.seconds ?? 0n) - (cancelRequest?.requestTime?.seconds ?? 0n));
    expect(grace).toBe(30);
    expect(expireTime).toBeDefined();
    expect(await hand.progress(claim, 20)).toBe(true);
    await hand.complete(claim);
    expect(await hand.state(claim.executionId)).toBe(SUCCEEDED);
  });

  it('answers a repeated request, and the first one stands', async () => {
    const claim = await running();
    await hand.cancel(claim.executionId, { reason: 'first', policy: { lateCompletion: REFUSED } });
    const again = await hand.cancel(claim.executionId, { reason: 'second', policy: { lateCompletion: ACCEPTED } });
    expect(again.execution).toMatchObject({ effect: CancelEffect.ALREADY_REQUESTED, state: RUNNING });
    expect((await hand.renew(claim)).cancelRequest).toMatchObject({ reason: 'first', lateCompletion: REFUSED });
    const now = await hand.cancel(claim.executionId, { policy: { mode: NOW }, reason: 'third' });
    expect(now.execution).toMatchObject({ effect: CancelEffect.ENDED, state: CANCELED });
  });

  it('takes no completion that was declared too late; its holder may still fail it', async () => {
    const claim = await running();
    await hand.cancel(claim.executionId, { reason: 'enough', policy: { lateCompletion: REFUSED } });
    await expect(refusal(hand.complete(claim))).resolves.toMatchObject({ reason: 'WRONG_STATE' });
    expect(await hand.state(claim.executionId)).toBe(RUNNING);
    expect(await hand.fail(claim, FailureClass.CANCELED)).toMatchObject({
      effect: FailureEffect.CANCELED,
      state: CANCELED,
      deadLetterId: '',
    });
    const { outcome } = await hand.look(claim.executionId);
    expect(outcome).toMatchObject({ state: CANCELED, reason: EndReason.CANCEL_REQUESTED, deadLetterId: '' });
  });

  it.each([
    ['fails', (claim: Claim) => hand.fail(claim, FailureClass.TRANSIENT)],
    ['fails for good', (claim: Claim) => hand.fail(claim, FailureClass.PERMANENT)],
    ['releases', (claim: Claim) => hand.release(claim)],
    ['delays', (claim: Claim) => hand.delay(claim, { delay: seconds(1) })],
  ])('ends canceled when a holder that was asked %s it', async (_name, call) => {
    const claim = await running();
    await hand.cancel(claim.executionId);
    expect((await call(claim)).state).toBe(CANCELED);
    const { outcome } = await hand.look(claim.executionId);
    expect(outcome).toMatchObject({ reason: EndReason.CANCEL_REQUESTED, deadLetterId: '' });
  });

  it('is ended by the engine at the end of the grace; who waits is answered then', async () => {
    const claim = await running();
    const canceled = await hand.cancel(claim.executionId, { policy: { grace: seconds(1) }, wait: seconds(10) });
    expect(canceled.execution).toMatchObject({ effect: CancelEffect.REQUESTED, state: CANCELED });
    expect(canceled.outcome).toMatchObject({ state: CANCELED, reason: EndReason.CANCEL_REQUESTED });
    await expect(refusal(hand.complete(claim))).resolves.toMatchObject({ reason: 'EXECUTION_TERMINAL' });
  });

  it('ends canceled, not retried, when the lease of a holder that was asked runs out', async () => {
    const claim = await hand.claimNamed(await hand.createOne(), { leaseDuration: seconds(1) });
    await hand.cancel(claim.executionId, { policy: { grace: seconds(60) } });
    expect((await hand.end(claim.executionId)).outcome).toMatchObject({
      state: CANCELED,
      reason: EndReason.CANCEL_REQUESTED,
    });
  });

  it('answers a wait as soon as the holder has ended it', async () => {
    const claim = await running();
    const waiting = hand.cancel(claim.executionId, { wait: seconds(20) });
    await recorded.log.entry(
      ({ executionId, kind }) => executionId === claim.executionId && kind === EXECUTION_CANCEL_REQUESTED,
    );
    await hand.complete(claim, 'made it');
    const { execution, outcome } = await waiting;
    expect(execution).toMatchObject({ effect: CancelEffect.REQUESTED, state: SUCCEEDED });
    expect(outcome?.result?.body).toEqual({ case: 'text', value: 'made it' });
  });
});

describe('proof 35: a worker that cancels its own execution', () => {
  it('ends it in the call, whatever the policy says', async () => {
    const claim = await running();
    const { execution, outcome } = await hand.cancel(claim.executionId, { lease: leaseOf(claim), reason: 'pointless' });
    expect(execution).toMatchObject({ effect: CancelEffect.ENDED, state: CANCELED });
    expect(outcome).toMatchObject({
      reason: EndReason.CANCELED_BY_WORKER,
      cancelReason: 'pointless',
      deadLetterId: '',
    });
  });

  it('may fail it with class CANCELED instead', async () => {
    const claim = await running();
    expect(await hand.fail(claim, FailureClass.CANCELED)).toMatchObject({ effect: FailureEffect.CANCELED });
    expect((await hand.look(claim.executionId)).outcome?.reason).toBe(EndReason.CANCELED_BY_WORKER);
  });

  it('is refused without the lease in force', async () => {
    const first = await running();
    await hand.release(first);
    await expect(refusal(hand.cancel(first.executionId, { lease: leaseOf(first) }))).resolves.toMatchObject({
      reason: 'LEASE_LOST',
    });
    expect(await hand.state(first.executionId)).toBe(QUEUED);
    const second = await hand.claimNamed(first.executionId);
    await expect(refusal(hand.cancel(first.executionId, { lease: leaseOf(first) }))).resolves.toMatchObject({
      reason: 'LEASE_LOST',
    });
    await hand.delay(second, { delay: seconds(60) });
    expect(await hand.state(first.executionId)).toBe(SCHEDULED);
    await hand.cancel(first.executionId);
  });
});
