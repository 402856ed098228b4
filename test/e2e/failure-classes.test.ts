/** What each class of failure leads to: backoff, what counts, what gives up (E8). */
import { durationMs, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptKind, AttemptOutcome, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { FailureEffect } from '../../gen/tailrace/v1/engine_service_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { type ByHand, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { SCHEDULED, QUEUED, FAILED, CANCELED } = ExecutionState;
const { TRANSIENT, PERMANENT, RATE_LIMITED, TIMEOUT, INVALID_RESULT } = FailureClass;
const atOnce = { retryDelay: seconds(0) };

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

async function running(spec: Parameters<ByHand['createOne']>[0] = {}): Promise<Claim> {
  return await hand.claimNamed(await hand.createOne(spec), { leaseDuration: seconds(600) });
}

describe('E8: backoff', () => {
  /** Milliseconds from each failure to the next attempt, by the engine's own clock; the run is brought forward each time. */
  async function backoffs(retryPolicy: object, times: number): Promise<number[]> {
    let claim = await running({ retryPolicy });
    const { executionId } = claim;
    const spans: number[] = [];
    for (let attempt = 1; attempt <= times; attempt++) {
      const { state, runTime, effect, failureCount } = await hand.fail(claim, TRANSIENT);
      expect([effect, state, failureCount]).toEqual([FailureEffect.RETRY, SCHEDULED, attempt]);
      const { createTime } = await recorded.log.entry(
        (entry) =>
          entry.executionId === executionId &&
          entry.kind === LogEntryKind.ATTEMPT_ENDED &&
          entry.attemptNumber === attempt,
      );
      if (!runTime || !createTime) throw new Error('a retry without its time');
      spans.push(timestampMs(runTime) - timestampMs(createTime));
      await recorded.clients.admin.changeExecution({ executionId, runTime: timestampFromMs(wallMs() - 1_000) });
      claim = await hand.claimNamed(executionId);
      expect(claim).toMatchObject({ attemptKind: AttemptKind.RETRY, failureCount: attempt });
    }
    await hand.complete(claim);
    return spans;
  }

  it('grows by its factor up to its cap, drawn from nothing to the whole step', async () => {
    const policy = {
      maxAttempts: 20,
      initialBackoff: seconds(1_000),
      backoffFactor: 3,
      maxBackoff: seconds(10_000),
    };
    const steps = [1_000, 3_000, 9_000, 10_000, 10_000, 10_000].map((each) => each * 1_000);
    const drawn = await Promise.all(Array.from({ length: 8 }, () => backoffs(policy, steps.length)));
    steps.forEach((step, i) => {
      const spans = drawn.map((each) => each[i] ?? -1);
      for (const span of spans) expect(span).toBeGreaterThan(-1_000);
      for (const span of spans) expect(span).toBeLessThanOrEqual(step);
      // That eight draws fall into one twentieth comes up once in a hundred million steps.
      expect(Math.max(...spans) - Math.min(...spans)).toBeGreaterThan(step / 20);
    });
  });

  it('has its defaults: five attempts, a second, doubling', async () => {
    const claim = await running();
    expect(claim).toMatchObject({ maxAttempts: 5, failureCount: 0 });
    const { execution } = await recorded.clients.admin.getExecution({ executionId: claim.executionId });
    const { maxAttempts, backoffFactor, initialBackoff, maxBackoff, maxReclaims } = execution?.retryPolicy ?? {};
    expect([maxAttempts, backoffFactor, maxReclaims]).toEqual([5, 2, 20]);
    expect([initialBackoff, maxBackoff].map((each) => each && durationMs(each))).toEqual([1_000, 300_000]);
    await hand.complete(claim);
  });

  it('gives way to a time that the failure names', async () => {
    const retryTime = timestampFromMs(wallMs() + 3_600_000);
    const later = await running();
    expect(await hand.fail(later, TRANSIENT, { retryTime })).toMatchObject({ state: SCHEDULED, runTime: retryTime });
    const now = await running();
    expect(await hand.fail(now, TRANSIENT, atOnce)).toMatchObject({ state: QUEUED, failureCount: 1 });
    const past = await running();
    expect((await hand.fail(past, TIMEOUT, { retryTime: timestampFromMs(wallMs() - 60_000) })).state).toBe(QUEUED);
  });
});

describe('E8: what counts', () => {
  it('transient failures and timeouts do, up to the limit; the last one names the reason', async () => {
    for (const [last, reason] of [
      [TRANSIENT, DeadLetterReason.RETRIES_EXHAUSTED],
      [TIMEOUT, DeadLetterReason.TIMEOUT],
    ] as const) {
      let claim = await running({ retryPolicy: { maxAttempts: 3 } });
      for (const [i, failureClass] of [TIMEOUT, TRANSIENT].entries()) {
        expect((await hand.fail(claim, failureClass, atOnce)).failureCount).toBe(i + 1);
        claim = await hand.claimNamed(claim.executionId);
      }
      const given = await hand.fail(claim, last, atOnce);
      expect(given).toMatchObject({
        effect: FailureEffect.DEAD_LETTERED,
        state: FAILED,
        deadLetterReason: reason,
        failureCount: 3,
      });
      expect(given.deadLetterId).not.toBe('');
      expect((await hand.look(claim.executionId)).outcome?.deadLetterId).toBe(given.deadLetterId);
    }
  });

  it('a rate limit does not, however often it comes', async () => {
    const lane = 'rate limited';
    const id = await hand.createOne({ lane, retryPolicy: { maxAttempts: 1 } });
    for (let attempt = 1; attempt <= 12; attempt++) {
      const claim = await hand.claimNamed(id);
      expect(claim).toMatchObject({ attemptNumber: attempt, failureCount: 0 });
      expect(claim.attemptKind).toBe(attempt === 1 ? AttemptKind.INITIAL : AttemptKind.CONTINUATION);
      expect(await hand.fail(claim, RATE_LIMITED, atOnce)).toMatchObject({ state: QUEUED, failureCount: 0 });
    }
    await hand.complete(await hand.claimNamed(id));
  });

  it('a rate limit waits until the time it names', async () => {
    const claim = await running({ lane: 'rate limited for a while' });
    expect((await hand.fail(claim, RATE_LIMITED, { retryDelay: seconds(0.3) })).state).toBe(SCHEDULED);
    const again = await hand.claimOne({ types: [claim.type], lanes: [{ lane: claim.lane }] });
    expect(again.executionId).toBe(claim.executionId);
    expect(again.previousFailure).toMatchObject({ failureClass: RATE_LIMITED, message: 'it broke', code: 'Broken' });
    await hand.complete(again);
  });

  it('a rate limit without a time is malformed', async () => {
    const claim = await running();
    const { reason, fieldViolations } = await refusal(hand.fail(claim, RATE_LIMITED));
    expect([reason, fieldViolations[0]?.field]).toEqual(['INVALID_FIELD', 'reports[0].retry_time']);
    await hand.complete(claim);
  });
});

describe('E8: what gives up at once', () => {
  it.each([
    ['PERMANENT', PERMANENT, EndReason.PERMANENT],
    ['INVALID_RESULT', INVALID_RESULT, EndReason.INVALID_RESULT],
  ])('%s, with its dead letter', async (_, failureClass, reason) => {
    const claim = await running({ input: text('kept'), tags: { a: 'b' } });
    const failed = await hand.fail(claim, failureClass, {
      failure: { failureClass, message: 'order 17 is "odd"', code: 'OddOrder', details: text('a trace') },
    });
    expect(failed).toMatchObject({ effect: FailureEffect.DEAD_LETTERED, state: FAILED, failureCount: 0 });
    const { deadLetter } = await recorded.clients.deadLetters.getDeadLetter({ deadLetterId: failed.deadLetterId });
    expect(deadLetter).toMatchObject({
      reason,
      attemptCount: 1,
      tags: { a: 'b' },
      input: { body: { case: 'text', value: 'kept' } },
      failure: {
        failureClass,
        message: 'order 17 is "odd"',
        code: 'OddOrder',
        details: { body: { value: 'a trace' } },
      },
    });
    expect((await hand.look(claim.executionId)).outcome).toMatchObject({
      reason,
      failure: { failureClass, message: 'order 17 is "odd"', code: 'OddOrder' },
    });
  });

  it('CANCELED, without one', async () => {
    const claim = await running();
    expect(await hand.fail(claim, FailureClass.CANCELED)).toMatchObject({
      effect: FailureEffect.CANCELED,
      state: CANCELED,
      deadLetterId: '',
    });
  });
});

describe('E8: a repeated report', () => {
  it('answers the first answer until the execution is claimed again', async () => {
    const claim = await running();
    const first = await hand.fail(claim, TRANSIENT, atOnce);
    const again = await hand.fail(claim, TRANSIENT, atOnce);
    expect(again).toMatchObject({ effect: first.effect, state: first.state, duplicate: true });
    await hand.claimNamed(claim.executionId);
    expect(await refusal(hand.fail(claim, TRANSIENT, atOnce))).toMatchObject({
      reason: 'LEASE_LOST',
      metadata: { why: 'superseded' },
    });
  });

  it('of what gave up answers the same dead letter', async () => {
    const claim = await running();
    const first = await hand.fail(claim, PERMANENT);
    const { deadLetterId, deadLetterReason } = first;
    expect(await hand.fail(claim, PERMANENT)).toMatchObject({ deadLetterId, deadLetterReason, duplicate: true });
  });

  it('with other content, or another kind of end, is refused', async () => {
    const claim = await running();
    await hand.fail(claim, TRANSIENT, { retryDelay: seconds(60) });
    for (const call of [
      () => hand.fail(claim, TRANSIENT, { retryDelay: seconds(61) }),
      () => hand.complete(claim),
      () => hand.release(claim),
    ]) {
      expect(await refusal(call())).toMatchObject({ reason: 'LEASE_LOST', metadata: { why: 'other_content' } });
    }
  });
});

describe('E8: a lost lease', () => {
  it('counts, and the attempt after it is a reclaim', async () => {
    const lane = 'lost';
    const id = await hand.createOne({ lane, retryPolicy: { maxAttempts: 2 } });
    const ask = { lanes: [{ lane }], leaseDuration: seconds(1) };
    await hand.claimOne(ask);
    const again = await hand.claimOne({ ...ask, leaseDuration: seconds(60), wait: seconds(20) });
    expect(again).toMatchObject({ executionId: id, attemptKind: AttemptKind.RECLAIM, failureCount: 1 });
    await hand.fail(again, TRANSIENT, atOnce);
    expect((await hand.look(id)).outcome).toMatchObject({ state: FAILED, reason: EndReason.RETRIES_EXHAUSTED });
    const lost = await recorded.log.entry(
      ({ executionId, kind, attemptNumber }) =>
        executionId === id && kind === LogEntryKind.ATTEMPT_ENDED && attemptNumber === 1,
    );
    expect(lost.body).toMatchObject({ value: { outcome: AttemptOutcome.LEASE_EXPIRED } });
  });
});
