/** What is refused of executions that are to join a flow: those created into it, and the children of its members. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CancelMode, LateCompletion } from '../../gen/tailrace/v1/cancel_pb.js';
import type { ChildSpec, Completion, WaitForChildrenRequest } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { JoinMode } from '../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { ByHand, type Init, leaseOf, ok, only, refusal, seconds } from '../support/by-hand.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
let hand: ByHand;
beforeAll(async () => {
  tailrace = await startTailrace({ environment: { TAILRACE_MAX_JOIN_SLOTS: '3' } });
  hand = new ByHand(tailrace);
});
afterAll(() => tailrace.stop());

async function openFlow(open = true, lane = '') {
  const members = [{ localName: 'a', execution: { type: 'work', lane } }];
  const { flowId, executionIds } = await tailrace.engine.createFlow({ flow: { open }, members });
  return { flowId, first: executionIds['a'] ?? '' };
}

async function canceledFlow() {
  const flow = await openFlow();
  await tailrace.engine.cancelFlow({ flowId: flow.flowId });
  return flow;
}

/** How many children there are. */
async function children(): Promise<number> {
  const asked = { filter: { lanes: ['children'] }, pageSize: 1_000 };
  return (await tailrace.admin.listExecutions(asked)).executions.length;
}

async function createIn(flowId: string, more: Init<ExecutionSpec> = {}) {
  return ok(
    only((await tailrace.engine.createExecutions({ executions: [{ type: 'work', flowId, ...more }] })).results),
  );
}

describe('an execution created into a flow', () => {
  it('belongs to it, and is told again under its request id', async () => {
    const { flowId } = await openFlow();
    const spec = { requestId: 'into', optionalInFlow: true };
    const { executionId } = await createIn(flowId, spec);
    const { execution } = await tailrace.admin.getExecution({ executionId });
    expect(execution).toMatchObject({ flowId, optionalInFlow: true });
    expect(await createIn(flowId, spec)).toMatchObject({ executionId, duplicate: true });
    const other = { ...spec, optionalInFlow: false };
    expect(await refusal(createIn(flowId, other))).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
    expect(await refusal(createIn((await openFlow()).flowId, spec))).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
  });

  it('is refused for itself when the flow takes none, or all with it when the call is atomic', async () => {
    const nowhere = uuidV7();
    const { flowId: sealed } = await openFlow(false);
    const { flowId: canceled } = await canceledFlow();
    const { flowId: open } = await openFlow();
    const flows = [nowhere, sealed, canceled, open];
    const specs = flows.map((flowId) => ({ type: 'work', flowId }));
    const { results } = await tailrace.engine.createExecutions({ executions: specs });
    const details = await Promise.all(
      results.slice(0, 3).map((item) => refusal(Promise.resolve().then(() => ok(item)))),
    );
    expect(details.map(({ reason, metadata }) => [reason, metadata['flow_id']])).toEqual([
      ['FLOW_NOT_FOUND', nowhere],
      ['FLOW_SEALED', sealed],
      ['WRONG_STATE', canceled],
    ]);
    expect(results.slice(3).map(ok)).toMatchObject([{ duplicate: false }]);
    const atomic = tailrace.engine.createExecutions({ executions: specs, atomic: true });
    expect(await refusal(atomic)).toMatchObject({ reason: 'FLOW_NOT_FOUND' });
  });

  it('is not found in the flow of another namespace', async () => {
    const { flowId } = await openFlow();
    const asked = { namespace: 'elsewhere', executions: [{ type: 'work', flowId }] };
    const { results } = await tailrace.engine.createExecutions(asked);
    expect(await refusal(Promise.resolve().then(() => ok(only(results))))).toMatchObject({ reason: 'FLOW_NOT_FOUND' });
  });

  it('is optional in nothing without a flow', async () => {
    expect(await refusal(hand.create({ optionalInFlow: true }))).toMatchObject({
      reason: 'INVALID_FIELD',
      fieldViolations: [{ field: 'executions[0].optional_in_flow' }],
    });
  });
});

const child = (more: Init<ChildSpec> = {}): Init<ChildSpec> => ({
  execution: { type: 'child', lane: 'children' },
  ...more,
});

async function wait(claim: Claim, more: Init<WaitForChildrenRequest> = {}) {
  return await tailrace.engine.waitForChildren({ lease: leaseOf(claim), children: [child()], ...more });
}

/** Of a member of a flow of its own. */
async function holder(lane?: string): Promise<{ claim: Claim; flowId: string }> {
  const { flowId, first } = await openFlow(true, lane);
  return { claim: await hand.claimNamed(first, { leaseDuration: seconds(600) }), flowId };
}

describe('WaitForChildren refuses', () => {
  it.each<[string, Init<WaitForChildrenRequest>, string]>([
    ['no child', { children: [] }, 'children'],
    ['too many', { children: Array.from({ length: 1_001 }, () => child()) }, 'children'],
    ['a child without a spec', { children: [{}] }, 'children[0].execution'],
    [
      'its request id',
      { children: [child({ execution: { type: 'c', lane: 'children', requestId: 'r' } })] },
      'children[0].execution.request_id',
    ],
    [
      'its flow',
      { children: [child({ execution: { type: 'c', lane: 'children', flowId: uuidV7() } })] },
      'children[0].execution.flow_id',
    ],
    [
      'its id',
      { children: [child({ execution: { type: 'c', lane: 'children', executionId: uuidV7() } })] },
      'children[0].execution.execution_id',
    ],
    ['a quorum above them', { policy: { mode: JoinMode.QUORUM, quorum: 2 } }, 'policy.quorum'],
    [
      'a quorum above their sources',
      {
        children: [child({ source: 's' }), child({ source: 's' }), child()],
        policy: { mode: JoinMode.QUORUM, quorum: 3, distinctSources: true },
      },
      'policy.quorum',
    ],
    ['no lease', { lease: undefined as never }, 'lease'],
  ])('%s', async (_, more, field) => {
    const { claim } = await holder();
    const before = await children();
    expect(await refusal(wait(claim, more))).toMatchObject({ reason: 'INVALID_FIELD', fieldViolations: [{ field }] });
    expect(await children()).toBe(before);
    expect(await hand.state(claim.executionId)).toBe(ExecutionState.RUNNING);
  });

  it('more than a join may have', async () => {
    const { claim } = await holder();
    expect(await refusal(wait(claim, { children: Array.from({ length: 4 }, () => child()) }))).toMatchObject({
      reason: 'JOIN_LIMIT_EXCEEDED',
      metadata: { limit: '3', size: '4' },
    });
  });

  it('a holder that is none', async () => {
    const { claim } = await holder();
    const lease = { ...leaseOf(claim), leaseId: uuidV7() };
    expect(await refusal(wait(claim, { lease }))).toMatchObject({ reason: 'LEASE_LOST' });
    const nowhere = { ...leaseOf(claim), executionId: uuidV7() };
    expect(await refusal(wait(claim, { lease: nowhere }))).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
    expect(await refusal(wait(claim, { namespace: 'elsewhere' }))).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
    await hand.complete(claim);
    expect(await refusal(wait(claim))).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
  });

  it('a holder that is asked to stop', async () => {
    const { claim } = await holder();
    await hand.cancel(claim.executionId);
    expect(await refusal(wait(claim))).toMatchObject({ reason: 'WRONG_STATE' });
    const other = await holder();
    await tailrace.engine.cancelFlow({ flowId: other.flowId });
    expect(await refusal(wait(other.claim))).toMatchObject({ reason: 'WRONG_STATE' });
  });

  it('other content under the same lease, and answers the same again', async () => {
    const { claim } = await holder();
    const first = await wait(claim);
    expect(first).toMatchObject({ duplicate: false, state: ExecutionState.WAITING_CHILDREN });
    const { $typeName: _, ...told } = first;
    expect(await wait(claim)).toMatchObject({ ...told, duplicate: true });
    const others = { children: [child({ name: 'other' })] };
    expect(await refusal(wait(claim, others))).toMatchObject({
      reason: 'LEASE_LOST',
      metadata: { why: 'other_content' },
    });
    expect(await refusal(hand.complete(claim))).toMatchObject({ reason: 'LEASE_LOST' });
  });
});

describe('a completion with children', () => {
  async function complete(claim: Claim, more: Init<Completion>) {
    const completions = [{ lease: leaseOf(claim), ...more }];
    return ok(only((await tailrace.engine.completeExecutions({ completions })).results));
  }
  const one = [{ type: 'child', lane: 'children' }];

  it('makes them once, in its flow', async () => {
    const { claim, flowId } = await holder();
    const first = await complete(claim, { children: one });
    expect(first.duplicate).toBe(false);
    const executionId = only(first.childExecutionIds);
    const { execution } = await tailrace.admin.getExecution({ executionId });
    expect(execution).toMatchObject({ flowId, parentExecutionId: claim.executionId, state: ExecutionState.QUEUED });
    expect(await complete(claim, { children: one })).toMatchObject({
      duplicate: true,
      childExecutionIds: [executionId],
    });
    const other = complete(claim, { children: [...one, ...one] });
    expect(await refusal(other)).toMatchObject({ reason: 'EXECUTION_TERMINAL' });
  });

  it('stands beside others in one call', async () => {
    const claims = await Promise.all(Array.from({ length: 4 }, async () => (await holder()).claim));
    const completions = claims.map((claim, i) => ({ lease: leaseOf(claim), children: i % 2 === 0 ? one : [] }));
    const { results } = await tailrace.engine.completeExecutions({ completions });
    expect(results.map(ok).map(({ childExecutionIds }) => childExecutionIds.length)).toEqual([1, 0, 1, 0]);
  });

  it('is refused whole when they are', async () => {
    const { claim, flowId } = await holder();
    for (const field of ['requestId', 'executionId', 'flowId'] as const) {
      const wrong = complete(claim, { children: [{ ...only(one), [field]: uuidV7() }] });
      expect(await refusal(wrong)).toMatchObject({ reason: 'INVALID_FIELD' });
    }
    await tailrace.engine.cancelFlow({ flowId, policy: { mode: CancelMode.COOPERATIVE, grace: seconds(600) } });
    const before = await children();
    expect(await refusal(complete(claim, { children: one }))).toMatchObject({ reason: 'WRONG_STATE' });
    expect(await children()).toBe(before);
    expect(await hand.state(claim.executionId)).toBe(ExecutionState.RUNNING);
    await hand.complete(claim);
  });

  it('makes them also late, when only its own end was asked for and late completions are accepted', async () => {
    const { claim } = await holder();
    await hand.cancel(claim.executionId);
    expect((await complete(claim, { children: one })).childExecutionIds).toHaveLength(1);
    const { claim: refused } = await holder();
    await hand.cancel(refused.executionId, { policy: { lateCompletion: LateCompletion.REFUSED } });
    const before = await children();
    expect(await refusal(complete(refused, { children: one }))).toMatchObject({ reason: 'WRONG_STATE' });
    expect(await children()).toBe(before);
  });

  it('tells its own of a repeat, not those it waited for before', async () => {
    const { claim } = await holder('waited');
    const { childExecutionIds } = await wait(claim);
    const lanes = [{ lane: 'children' }];
    for (const child of await hand.claim({ lanes, maxExecutions: 500 })) await hand.complete(child);
    expect(childExecutionIds).toHaveLength(1);
    const resumed = await hand.claimOne({ lanes: [{ lane: 'waited' }] });
    expect(resumed.executionId).toBe(claim.executionId);
    const first = await complete(resumed, { children: [...one, ...one] });
    expect(first.childExecutionIds).toHaveLength(2);
    expect(await complete(resumed, { children: [...one, ...one] })).toMatchObject({
      duplicate: true,
      childExecutionIds: first.childExecutionIds,
    });
  });
});
