/** The history of attempts: each kind and outcome, who and when, never overwritten (E12). */
import { durationMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Attempt, AttemptKind, AttemptOutcome, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type ByHand, only, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { INITIAL, RETRY, RECLAIM, CONTINUATION } = AttemptKind;
const atOnce = { retryDelay: seconds(0) };

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand('historian', 'instance 1');
});
afterAll(() => recorded.stop());

async function attemptsOf(executionId: string, more = {}): Promise<Attempt[]> {
  return (await recorded.clients.admin.listAttempts({ executionId, ...more })).attempts;
}

/** How one attempt after the other ends, and the kind of the attempt that follows. */
const STEPS: readonly (readonly [AttemptOutcome, AttemptKind, (claim: Claim) => Promise<unknown>, object?])[] = [
  [AttemptOutcome.FAILED, RETRY, (claim) => hand.fail(claim, FailureClass.TRANSIENT, atOnce)],
  [AttemptOutcome.TIMED_OUT, RETRY, (claim) => hand.fail(claim, FailureClass.TIMEOUT, atOnce)],
  [AttemptOutcome.RATE_LIMITED, CONTINUATION, (claim) => hand.fail(claim, FailureClass.RATE_LIMITED, atOnce)],
  [AttemptOutcome.RELEASED, CONTINUATION, (claim) => hand.release(claim, 'moved')],
  [AttemptOutcome.DELAYED, CONTINUATION, (claim) => hand.delay(claim, { delay: seconds(0) })],
  [AttemptOutcome.REVOKED, CONTINUATION, ({ executionId }) => recorded.clients.admin.revokeLease({ executionId })],
  [AttemptOutcome.NOT_STARTED, CONTINUATION, async () => undefined, { startWithin: seconds(0.1) }],
  [AttemptOutcome.LEASE_EXPIRED, RECLAIM, async () => undefined, { leaseDuration: seconds(1) }],
  [AttemptOutcome.SUCCEEDED, INITIAL, (claim) => hand.complete(claim)],
];

test('E12: every way an attempt can end is kept, in order, with what followed from it', async () => {
  const lane = 'everything';
  const id = await hand.createOne({ lane, retryPolicy: { maxAttempts: 100 } });
  const seen: { token: bigint; kind: AttemptKind }[] = [];
  for (const [ends, , end, ask] of STEPS) {
    const claim = await hand.claimOne({ lanes: [{ lane }], wait: seconds(10), leaseDuration: seconds(60), ...ask });
    seen.push({ token: claim.lease?.fencingToken ?? 0n, kind: claim.attemptKind });
    const before = await attemptsOf(id);
    // What ends by itself may have ended by now.
    const outcome = expect.toBeOneOf([AttemptOutcome.UNSPECIFIED, ...(ask ? [ends] : [])]);
    expect(before.at(-1)).toMatchObject({ attemptNumber: seen.length, outcome });
    await end(claim);
  }
  const attempts = await attemptsOf(id);
  expect(attempts.map(({ attemptNumber }) => attemptNumber)).toEqual(STEPS.map((_, i) => i + 1));
  expect(attempts.map(({ outcome }) => outcome)).toEqual(STEPS.map(([outcome]) => outcome));
  expect(attempts.map(({ kind }) => kind)).toEqual([INITIAL, ...STEPS.slice(0, -1).map(([, next]) => next)]);
  expect(attempts.map(({ fencingToken, kind }) => ({ token: fencingToken, kind }))).toEqual(seen);
  for (const { worker, lane: where, type, executionId } of attempts) {
    expect({ worker, where, type, executionId }).toMatchObject({
      worker: hand.worker,
      where: lane,
      type: 'work',
      executionId: id,
    });
  }
  for (const { failure, outcome } of attempts) {
    const told = [AttemptOutcome.FAILED, AttemptOutcome.TIMED_OUT, AttemptOutcome.RATE_LIMITED].includes(outcome);
    if (told) expect(failure).toMatchObject({ message: 'it broke', code: 'Broken' });
  }
  // Times of one attempt and the next: claimable, started, ended, and so on, never back.
  const times = attempts.flatMap(({ claimableTime, startTime, endTime }) =>
    [claimableTime, startTime, endTime].map((time) => (time ? timestampMs(time) : Number.NaN)),
  );
  expect(times).toEqual(times.toSorted((a, b) => a - b));
});

test('E12: an open attempt shows who holds it and how far it is', async () => {
  const claim = await hand.claimNamed(await hand.createOne({ lane: 'open' }));
  await hand.progress(claim, 40, 'page 4 of 10');
  const open = only(await attemptsOf(claim.executionId));
  expect(open).toMatchObject({
    outcome: AttemptOutcome.UNSPECIFIED,
    worker: hand.worker,
    progress: { percent: 40, message: 'page 4 of 10' },
    fencingToken: claim.lease?.fencingToken,
  });
  expect(open.endTime).toBeUndefined();
  await hand.complete(claim);
  const ended = only(await attemptsOf(claim.executionId));
  expect(ended).toMatchObject({ outcome: AttemptOutcome.SUCCEEDED, progress: { percent: 40 } });
  const { startTime, endTime, runDuration } = ended;
  if (!startTime || !endTime || !runDuration) throw new Error('an ended attempt without its times');
  expect(Math.abs(timestampMs(endTime) - timestampMs(startTime) - durationMs(runDuration))).toBeLessThan(2);
});

test('E12: nothing that is refused or repeated changes what is kept', async () => {
  const claim = await hand.claimNamed(await hand.createOne({ lane: 'kept' }));
  await hand.fail(claim, FailureClass.TRANSIENT, atOnce);
  const kept = await attemptsOf(claim.executionId);
  await hand.fail(claim, FailureClass.TRANSIENT, atOnce);
  for (const call of [() => hand.complete(claim, 'late'), () => hand.release(claim), () => hand.progress(claim, 99)]) {
    await refusal(call());
  }
  expect(await attemptsOf(claim.executionId)).toEqual(kept);
  const next = await hand.claimNamed(claim.executionId);
  await hand.fail(next, FailureClass.PERMANENT, {
    failure: { failureClass: FailureClass.PERMANENT, message: 'second', details: text('trace') },
  });
  const [first, second] = await attemptsOf(claim.executionId);
  expect(first).toEqual(kept[0]);
  expect(second).toMatchObject({ failure: { message: 'second', details: { body: { value: 'trace' } } } });
});

test('E12: long histories come in pages, by outcome too', async () => {
  const id = await hand.createOne({ lane: 'long', retryPolicy: { maxAttempts: 1 } });
  for (let i = 0; i < 12; i++) {
    const claim = await hand.claimNamed(id);
    await (i % 3 === 0 ? hand.delay(claim, { delay: seconds(0) }) : hand.release(claim));
  }
  const numbers: number[] = [];
  let pageToken = '';
  do {
    const page = await recorded.clients.admin.listAttempts({ executionId: id, pageSize: 5, pageToken });
    numbers.push(...page.attempts.map(({ attemptNumber }) => attemptNumber));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  expect(numbers).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
  const delayed = await attemptsOf(id, { outcomes: [AttemptOutcome.DELAYED] });
  expect(delayed.map(({ attemptNumber }) => attemptNumber)).toEqual([1, 4, 7, 10]);
});
