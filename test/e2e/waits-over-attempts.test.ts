/** What was said to an attempt is not lost with it: the next one begins its waits anew and finds it again. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { SuspensionTimeoutBehavior, WaitpointState } from '../../gen/tailrace/v1/signal_pb.js';
import { refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { Recorded } from '../support/history/recorded.js';
import { named, WaitsByHand } from '../support/waits-by-hand.js';

const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: WaitsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new WaitsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

/** Parked at a waitpoint, approved there, and held again by a worker. */
async function approved() {
  const soon = { retryPolicy: { initialBackoff: seconds(0.01) } };
  const claim = await hand.claimNamed(await hand.createOne(soon), long);
  const { token } = await hand.waitpoint(claim, 'approval');
  await hand.suspend(claim, { condition: named('go', 'approval') });
  await hand.signalBy(token);
  return { token, claim: await hand.claimNamed(claim.executionId, long) };
}

it('an approval outlives the worker that gave the execution back', async () => {
  const { claim } = await approved();
  await hand.release(claim, 'drained');
  const next = await hand.claimNamed(claim.executionId, long);
  expect(next.attemptNumber).toBe(2);
  expect(next.resume).toBeUndefined();
  expect((await hand.waitpoint(next, 'approval')).state).toBe(WaitpointState.PENDING);
  const answer = await hand.suspend(next, { condition: named('go', 'approval') });
  expect(answer).toMatchObject({ suspended: false, signals: [{ name: 'go', waitpointKey: 'approval' }] });
  await hand.complete(next);
});

it('an approval outlives a failure, without the waitpoint being asked for again', async () => {
  const { claim } = await approved();
  await hand.fail(claim, FailureClass.TRANSIENT);
  await eventually(async () => (await hand.state(claim.executionId)) === ExecutionState.QUEUED);
  const next = await hand.claimNamed(claim.executionId, long);
  expect(await hand.suspend(next, { condition: named('go', 'approval') })).toMatchObject({ suspended: false });
});

it('what several waits took is taken again in the same order', async () => {
  const first = await hand.claimNamed(await hand.createOne({}), long);
  const sent = [];
  for (const key of ['a', 'b'])
    sent.push((await hand.signal(first.executionId, 'go', { idempotencyKey: key })).signalId);
  const taken = async (claim: typeof first) => {
    const found = [];
    for (const idempotencyKey of ['1', '2']) {
      const { signals } = await hand.suspend(claim, { idempotencyKey });
      found.push(...signals.map(({ signalId }) => signalId));
    }
    return found;
  };
  expect(await taken(first)).toEqual(sent);
  await hand.release(first);
  const second = await hand.claimNamed(first.executionId, long);
  expect(await taken(second)).toEqual(sent);
  // Within one attempt they are taken once.
  expect((await hand.suspend(second, { idempotencyKey: '3' })).suspended).toBe(true);
});

it('a timeout was that of its suspension: the next attempt waits again', async () => {
  const claim = await hand.claimNamed(await hand.createOne({}), long);
  const { token } = await hand.waitpoint(claim, 'approval');
  await hand.suspend(claim, {
    condition: named('', 'approval'),
    timeout: seconds(0.1),
    timeoutBehavior: SuspensionTimeoutBehavior.RESUME,
  });
  await eventually(async () => (await hand.state(claim.executionId)) === ExecutionState.QUEUED);
  const late = await hand.claimNamed(claim.executionId, long);
  expect((await refusal(hand.signalBy(token))).reason).toBe('INVALID_WAITPOINT_TOKEN');
  await hand.release(late);
  const next = await hand.claimNamed(claim.executionId, long);
  expect((await hand.suspend(next, { condition: named('', 'approval') })).suspended).toBe(true);
  await hand.signalBy(token);
  expect(await hand.state(claim.executionId)).toBe(ExecutionState.QUEUED);
});
