/** CancelFlow: what it does to whom, what it answers, and what a canceled flow takes no more. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CancelEffect, CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowCancelScope, FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinState } from '../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { refusal, seconds } from '../support/by-hand.js';
import { FlowsByHand, type MadeFlow } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { ALL, PENDING_ONLY } = FlowCancelScope;
const { CANCELING, CANCELED, SUCCEEDED } = FlowState;
const now = { mode: CancelMode.NOW };
const patient = { mode: CancelMode.COOPERATIVE, grace: seconds(60) };
const canceled = { state: 'CANCELED', reason: EndReason.FLOW_CANCELED };
const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

/** One of each: ended, running, due, delayed, blocked. */
async function mixed(): Promise<{ flow: MadeFlow; claim: Awaited<ReturnType<MadeFlow['claim']>> }> {
  const flow = await hand.flow({
    members: { done: {}, runs: {}, due: {}, delayed: { delay: seconds(600) }, blocked: {} },
    links: [['due', 'blocked']],
  });
  await flow.complete('done');
  return { flow, claim: await flow.claim('runs', long) };
}

describe('all', () => {
  it('ends what waits, and now also what runs', async () => {
    const { flow, claim } = await mixed();
    const answer = await flow.cancel({ policy: now, reason: 'no longer needed', wait: seconds(20) });
    expect(answer).toMatchObject({ state: CANCELED, settled: true, memberCount: 4n });
    for (const name of ['runs', 'due', 'delayed', 'blocked']) expect(await flow.end(name)).toEqual(canceled);
    expect((await flow.look('done')).outcome?.reason).toBe(EndReason.UNSPECIFIED);
    expect((await flow.look('due')).outcome?.cancelReason).toBe('no longer needed');
    expect((await refusal(hand.complete(claim))).reason).toBe('EXECUTION_TERMINAL');
    expect(await flow.get()).toMatchObject({ state: CANCELED, settled: true, cancelReason: 'no longer needed' });
    expect((await flow.join('blocked')).state).toBe(JoinState.ABANDONED);
  });

  it('asks what runs to stop, which learns it at its next renewal', async () => {
    const { flow, claim } = await mixed();
    const answer = await flow.cancel({ policy: patient, reason: 'enough' });
    expect([CANCELING, FlowState.ACTIVE]).toContain(answer.state);
    expect(answer).toMatchObject({ settled: false, memberCount: 4n });
    await recorded.log.entry(
      ({ kind, executionId }) => kind === LogEntryKind.EXECUTION_CANCEL_REQUESTED && executionId === claim.executionId,
    );
    expect(await hand.renew(claim)).toMatchObject({ cancelRequest: { reason: 'enough' } });
    for (const name of ['due', 'delayed', 'blocked']) expect(await flow.end(name)).toEqual(canceled);
    expect(await flow.get()).toMatchObject({ state: CANCELING, settled: false });
    // Late completions are accepted by default, and the flow is canceled all the same.
    await hand.complete(claim);
    expect((await flow.ended()).state).toBe(CANCELED);
  });

  it('ends at the end of the grace what does not stop', async () => {
    const { flow } = await mixed();
    await flow.cancel({ policy: { ...patient, grace: seconds(1) } });
    expect(await flow.end('runs')).toEqual(canceled);
    expect((await flow.ended()).state).toBe(CANCELED);
  });

  it('takes the policy of the flow unless it says otherwise', async () => {
    const flow = await hand.flow({ members: { runs: {} } }, { cancelPolicy: now });
    await flow.claim('runs', long);
    await flow.cancel();
    expect(await flow.end('runs')).toEqual(canceled);
  });

  it('tells per member what it did, and of those beyond the first thousand how many', async () => {
    const names = Array.from({ length: 1_200 }, (_, i) => `m ${i}`);
    const flow = await hand.flow({ members: Object.fromEntries(names.map((name) => [name, {}])) });
    const { memberCount, members, settled } = await flow.cancel({ wait: seconds(30) });
    expect(settled).toBe(true);
    expect(memberCount).toBe(1_200n);
    expect(members).toHaveLength(1_000);
    expect(members.filter(({ effect }) => effect === CancelEffect.ENDED)).toHaveLength(1_000);
  });
});

describe('pending only', () => {
  it('leaves alone what runs, and what it would have released', async () => {
    const flow = await hand.flow({ members: { runs: {}, due: {}, after: {} }, links: [['runs', 'after']] });
    const claim = await flow.claim('runs', long);
    await flow.cancel({ scope: PENDING_ONLY, policy: now });
    for (const name of ['due', 'after']) expect(await flow.end(name)).toEqual(canceled);
    expect((await hand.renew(claim)).cancelRequest).toBeUndefined();
    await hand.complete(claim);
    expect((await flow.end('runs')).state).toBe('SUCCEEDED');
    expect((await flow.ended()).state).toBe(CANCELED);
  });

  it('says that it left them running', async () => {
    const { flow, claim } = await mixed();
    const { members } = await flow.cancel({ scope: PENDING_ONLY });
    const effect = members.find(({ executionId }) => executionId === claim.executionId)?.effect;
    expect([undefined, CancelEffect.LEFT_RUNNING]).toContain(effect);
    await hand.complete(claim);
    await flow.ended();
  });

  it('does not ask children to stop that run while their parent waits for them', async () => {
    const flow = await hand.flow({ members: { parent: {} } });
    const { childExecutionIds } = await hand.waitForChildren(await flow.claim('parent', long), [
      { execution: { type: 'runs', lane: flow.lane } },
      { execution: { type: 'due', lane: flow.lane } },
    ]);
    const claim = await flow.claim('runs', long);
    const due = childExecutionIds.find((id) => id !== claim.executionId) ?? '';
    await flow.cancel({ scope: PENDING_ONLY, policy: patient });
    expect(await flow.end('parent')).toEqual(canceled);
    expect((await hand.end(due)).outcome?.state).toBe(ExecutionState.CANCELED);
    await hand.sweptAfter(0.1);
    expect((await hand.renew(claim)).cancelRequest).toBeUndefined();
    await hand.complete(claim);
    expect((await hand.end(claim.executionId)).outcome?.state).toBe(ExecutionState.SUCCEEDED);
    expect((await flow.ended()).state).toBe(CANCELED);
  });

  it('may be widened to all, and not narrowed again', async () => {
    const { flow } = await mixed();
    await flow.cancel({ scope: PENDING_ONLY, reason: 'first' });
    await flow.end('due');
    expect(await flow.states('runs')).toEqual({ runs: 'RUNNING' });
    await flow.cancel({ scope: ALL, policy: now, reason: 'second' });
    expect(await flow.end('runs')).toEqual(canceled);
    await flow.cancel({ scope: PENDING_ONLY });
    expect((await flow.ended()).state).toBe(CANCELED);
  });
});

describe('a repeat', () => {
  it('changes nothing, and what has ended answers itself', async () => {
    const { flow } = await mixed();
    await flow.cancel({ policy: now, reason: 'first' });
    await flow.ended();
    const again = await flow.cancel({ reason: 'second' });
    expect(again).toMatchObject({ state: CANCELED, settled: true });
    expect((await flow.get()).cancelReason).toBe('first');
    const later = await hand.createOne();
    await recorded.log.entry(({ executionId }) => executionId === later);
    const told = recorded.log.entries.filter(({ flowId }) => flowId === flow.id);
    expect(told.filter(({ kind }) => kind === LogEntryKind.FLOW_CANCELED)).toHaveLength(1);
  });

  it('of a flow that has succeeded leaves it so', async () => {
    const flow = await hand.flow({ members: { a: {} } });
    await flow.complete('a');
    await flow.ended();
    expect(await flow.cancel()).toMatchObject({ state: SUCCEEDED, settled: true });
    expect((await flow.get()).state).toBe(SUCCEEDED);
  });
});

describe('a canceled flow', () => {
  it('takes nothing more: no members, no children, no extension', async () => {
    const flow = await hand.flow({ members: { a: {}, b: {} } }, { open: true });
    const claim = await flow.claim('a', long);
    await flow.cancel({ policy: patient });
    await flow.end('b');
    expect((await refusal(flow.extend({ members: { c: {} } }))).reason).toBe('WRONG_STATE');
    const joining = hand.createOne({ flowId: flow.id });
    expect((await refusal(joining)).reason).toBe('WRONG_STATE');
    const waiting = hand.waitForChildren(claim, [{ execution: { type: 'child', lane: flow.lane } }]);
    expect((await refusal(waiting)).reason).toBe('WRONG_STATE');
    await hand.complete(claim);
    expect((await flow.ended()).state).toBe(CANCELED);
    const { members } = await recorded.clients.admin.listFlowMembers({ flowId: flow.id });
    expect(members).toHaveLength(2);
  });

  it('that is open and empty is canceled at once', async () => {
    const flow = await hand.flow({}, { open: true });
    expect(await flow.cancel({ wait: seconds(10) })).toMatchObject({ state: CANCELED, memberCount: 0n });
  });

  it('takes with it a parent that waits, and its children', async () => {
    const flow = await hand.flow({ members: { parent: {} } });
    const claim = await flow.claim('parent', long);
    const { childExecutionIds } = await hand.waitForChildren(claim, [
      { execution: { type: 'runs', lane: flow.lane } },
      { execution: { type: 'due', lane: flow.lane } },
    ]);
    await flow.claim('runs', long);
    await flow.cancel({ policy: now });
    expect(await flow.end('parent')).toEqual(canceled);
    for (const id of childExecutionIds) expect((await hand.end(id)).outcome?.state).toBe(9);
    expect((await flow.ended()).state).toBe(CANCELED);
  });
});
