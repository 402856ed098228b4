/** Proof 35 for what waits for others: it ends in the call with every policy, and takes along only what lives by it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptOutcome } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelEffect, CancelMode, type CancelPolicy, LateCompletion } from '../../gen/tailrace/v1/cancel_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinState } from '../../gen/tailrace/v1/join_pb.js';
import { type Init, leaseOf, only, refusal, seconds } from '../support/by-hand.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { CANCELED } = ExecutionState;
const { ACCEPTED, REFUSED } = LateCompletion;
const POLICIES: Readonly<Record<string, Init<CancelPolicy>>> = {
  NOW: { mode: CancelMode.NOW },
  COOPERATIVE: { mode: CancelMode.COOPERATIVE, grace: seconds(60), lateCompletion: ACCEPTED },
  'COOPERATIVE, late completions refused': {
    mode: CancelMode.COOPERATIVE,
    grace: seconds(60),
    lateCompletion: REFUSED,
  },
};
const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

describe.each(Object.entries(POLICIES))('proof 35: with policy %s', (name, policy) => {
  it('what is BLOCKED ends in the call; who needs it is skipped, whom it needs goes on', async () => {
    const flow = await hand.flow({
      members: { up: {}, blocked: {}, after: {} },
      links: [
        ['up', 'blocked'],
        ['blocked', 'after'],
      ],
    });
    const { execution, outcome } = await hand.cancel(flow.of('blocked'), { policy, reason: 'not needed' });
    expect(execution).toMatchObject({ effect: CancelEffect.ENDED, state: CANCELED });
    expect(outcome).toMatchObject({ reason: EndReason.CANCEL_REQUESTED, cancelReason: 'not needed', attemptNumber: 0 });
    expect(await flow.end('after')).toEqual({ state: 'SKIPPED', reason: EndReason.JOIN_IMPOSSIBLE });
    await flow.complete('up');
    expect((await flow.ended()).state).toBe(FlowState.FAILED);
    expect(await flow.join('blocked')).toMatchObject({ state: JoinState.ABANDONED });
    const again = await hand.cancel(flow.of('blocked'), { policy, reason: 'again' });
    expect(again.execution?.effect).toBe(CancelEffect.ALREADY_TERMINAL);
  });

  it('what is WAITING_CHILDREN ends in the call with its attempt, and its children with it', async () => {
    const lane = `children ${name}`;
    const claim = await hand.claimNamed(await hand.createOne(), long);
    const children = ['runs', 'due'].map((type) => ({ execution: { type, lane } }));
    const { childExecutionIds } = await hand.waitForChildren(claim, children);
    const running = only(await hand.claim({ lanes: [{ lane }], types: ['runs'], ...long }));
    const { execution, outcome } = await hand.cancel(claim.executionId, { policy, reason: 'not needed' });
    expect(execution).toMatchObject({ effect: CancelEffect.ENDED, state: CANCELED });
    expect(outcome).toMatchObject({ reason: EndReason.CANCEL_REQUESTED, attemptNumber: 1 });
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: claim.executionId });
    expect(only(attempts).outcome).toBe(AttemptOutcome.CANCELED);
    const [runs = '', due = ''] = childExecutionIds;
    expect((await hand.end(due)).outcome).toMatchObject({ state: CANCELED, reason: EndReason.PARENT_ENDED });
    if (policy.mode === CancelMode.NOW) {
      expect((await hand.end(runs)).outcome).toMatchObject({ state: CANCELED, reason: EndReason.PARENT_ENDED });
      expect((await refusal(hand.complete(running))).reason).toBe('EXECUTION_TERMINAL');
      return;
    }
    await recorded.log.entry(({ kind, executionId }) => kind === 5 && executionId === runs);
    expect((await hand.renew(running)).cancelRequest).toMatchObject({ lateCompletion: policy.lateCompletion });
    if (policy.lateCompletion === ACCEPTED) {
      await hand.complete(running);
    } else {
      expect((await refusal(hand.complete(running))).reason).toBe('WRONG_STATE');
      await hand.fail(running, 5);
    }
    await hand.end(runs);
  });

  it('what was resumed and waits for its claim ends in the call with its attempt', async () => {
    const lane = `resumed ${name}`;
    const claim = await hand.claimNamed(await hand.createOne(), long);
    await hand.waitForChildren(claim, [{ execution: { type: 'child', lane } }]);
    await hand.complete(only(await hand.claim({ lanes: [{ lane }], wait: seconds(5) })));
    const { execution } = await hand.cancel(claim.executionId, { policy });
    expect(execution).toMatchObject({ effect: CancelEffect.ENDED, state: CANCELED });
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: claim.executionId });
    expect(only(attempts)).toMatchObject({ attemptNumber: 1, outcome: AttemptOutcome.CANCELED });
    expect((await refusal(hand.complete(claim))).reason).toBe('EXECUTION_TERMINAL');
  });
});

describe('proof 35: a worker', () => {
  it('that has parked its execution can no longer cancel it by its lease', async () => {
    const lane = 'parked';
    const claim = await hand.claimNamed(await hand.createOne(), long);
    const { childExecutionIds } = await hand.waitForChildren(claim, [{ execution: { type: 'child', lane } }]);
    const { reason } = await refusal(hand.cancel(claim.executionId, { lease: leaseOf(claim) }));
    expect(reason).toBe('LEASE_LOST');
    await hand.cancel(claim.executionId);
    for (const id of childExecutionIds) await hand.end(id);
  });
});
