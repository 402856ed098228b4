/** Flows as the desk shows them: as they stand, page by page, in every direction, and why a member waits. */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AttemptOutcome, FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../../gen/tailrace/v1/cancel_pb.js';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { BlockKind } from '../../../gen/tailrace/v1/execution_pb.js';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { HoldKind, TimerKind } from '../../../gen/tailrace/v1/explain_pb.js';
import { EdgeDirection, type Flow, FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import {
  JoinKind,
  JoinMode,
  JoinState,
  OnJoinTimeout,
  OnSatisfied,
  SlotOutcome,
} from '../../../gen/tailrace/v1/join_pb.js';
import { refusal, seconds } from '../../support/by-hand.js';
import { type Desk, startDesk } from '../../support/desk.js';
import { eventually } from '../../support/eventually.js';
import { FlowsByHand, type MadeFlow } from '../../support/flows-by-hand.js';

let desk: Desk;
let hand: FlowsByHand;
beforeAll(async () => {
  desk = await startDesk();
  hand = new FlowsByHand(desk);
});
afterEach(async () => {
  expect(await desk.broken()).toEqual([]);
});
afterAll(async () => {
  await desk.stop();
});

const NOBODY = '0198a0a0-0000-7000-8000-000000000001';
/** a before b, both before c. */
const THREE = {
  members: { a: {}, b: {}, c: {} },
  links: [['a', 'b'] as const, ['a', 'c'] as const, ['b', 'c'] as const],
};

const counted = ({ executions }: Flow) =>
  Object.fromEntries(executions.map(({ state, count }) => [ExecutionState[state], Number(count)]));

/** Keys of all pages, in their order. */
async function paged(
  read: (page: { pageSize: number; pageToken: string }) => Promise<{ keys: string[]; nextPageToken: string }>,
): Promise<string[]> {
  const keys: string[] = [];
  let pageToken = '';
  do {
    const page = await read({ pageSize: 2, pageToken });
    expect(page.keys.length).toBeLessThanOrEqual(2);
    keys.push(...page.keys);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return keys;
}

describe('GetFlow', () => {
  it('shows what was asked for, and how it goes on', async () => {
    const flow = await hand.flow(THREE, {
      name: 'three',
      tags: { customer: '7' },
      open: true,
      sealAfterIdle: seconds(3_600),
      cancelPolicy: { mode: CancelMode.NOW },
    });
    await desk.caughtUp();
    const made = await flow.get();
    expect(made).toMatchObject({
      flowId: flow.id,
      namespace: 'default',
      name: 'three',
      tags: { customer: '7' },
      state: FlowState.ACTIVE,
      settled: false,
      sealed: false,
      revision: 1n,
      cancelPolicy: { mode: CancelMode.NOW },
      sealAfterIdle: { seconds: 3_600n },
      openJoinCount: 2n,
      openDeadLetterCount: 0n,
      cancelReason: '',
    });
    expect(counted(made)).toEqual({ BLOCKED: 2, QUEUED: 1 });
    expect(made.firstFailure ?? made.settleTime ?? made.sealTime ?? made.endTime).toBeUndefined();

    await flow.complete('a');
    await desk.caughtUp();
    const { entries } = await desk.admin.listLogEntries({ filter: { flowId: flow.id }, pageSize: 1 });
    const next = await flow.get();
    expect(counted(next)).toEqual({ BLOCKED: 1, QUEUED: 1, SUCCEEDED: 1 });
    expect(next.openJoinCount).toBe(1n);
    expect(next.lastCursor).toBe(entries[0]?.cursor);
    expect(next.lastEntryTime).toEqual(entries[0]?.createTime);
    expect(next.countsCursor >= next.lastCursor).toBe(true);

    await flow.complete('b');
    await flow.complete('c');
    expect(await flow.settled()).toMatchObject({ state: FlowState.IDLE, settled: true, sealed: false });
    await flow.seal();
    await flow.ended();
    await desk.caughtUp();
    const ended = await flow.get();
    expect(ended).toMatchObject({ state: FlowState.SUCCEEDED, settled: true, sealed: true, openJoinCount: 0n });
    expect(counted(ended)).toEqual({ SUCCEEDED: 3 });
    expect(ended.endTime && ended.settleTime && ended.sealTime).toBeDefined();
  });

  it('tells the cause before what it led to', async () => {
    const flow = await hand.flow({ ...THREE, members: { ...THREE.members, d: {} } });
    await flow.fail('a');
    await flow.complete('d');
    await flow.ended();
    const failed = await flow.get();
    expect(failed).toMatchObject({ state: FlowState.FAILED, openDeadLetterCount: 1n });
    const cause = {
      executionId: flow.of('a'),
      type: 'a',
      reason: EndReason.PERMANENT,
      failure: { failureClass: FailureClass.PERMANENT, message: 'it broke', code: 'Broken' },
    };
    expect(failed.firstFailure).toMatchObject(cause);
    expect(failed.lastFailure).toMatchObject(cause);
  });

  it('shows nothing to another namespace', async () => {
    const flow = await hand.flow({ members: { a: {} } });
    for (const asked of [{ flowId: NOBODY }, { flowId: flow.id, namespace: 'elsewhere' }]) {
      expect(await refusal(desk.admin.getFlow(asked))).toMatchObject({ reason: 'FLOW_NOT_FOUND' });
      expect(await refusal(desk.admin.listFlowMembers(asked))).toMatchObject({ reason: 'FLOW_NOT_FOUND' });
      expect(await refusal(desk.admin.listEdges(asked))).toMatchObject({ reason: 'FLOW_NOT_FOUND' });
      expect(await refusal(desk.admin.getFlowTree(asked))).toMatchObject({ reason: 'FLOW_NOT_FOUND' });
      expect((await desk.admin.listJoins(asked)).joins).toEqual([]);
    }
    await flow.complete('a');
  });
});

describe('ListFlows', () => {
  it('lists them newest first, by state, name, tags and time', async () => {
    const made: MadeFlow[] = [];
    for (let i = 0; i < 5; i++) {
      made.push(await hand.flow({ members: { a: {} } }, { name: 'listed', tags: { run: 'x', odd: String(i % 2) } }));
    }
    const newest = made.map(({ id }) => id).reverse();
    const list = (filter: object) =>
      paged(async (page) => {
        const { flows, nextPageToken } = await desk.admin.listFlows({ ...filter, ...page });
        return { keys: flows.map(({ flowId }) => flowId), nextPageToken };
      });
    expect(await list({ name: 'listed' })).toEqual(newest);
    expect(await list({ tags: { run: 'x', odd: '1' } })).toEqual([made[3]?.id, made[1]?.id]);
    expect((await list({})).slice(0, 5)).toEqual(newest);
    const last = made.at(-1);
    await last?.complete('a');
    await last?.ended();
    expect(await list({ name: 'listed', states: [FlowState.SUCCEEDED] })).toEqual([last?.id]);
    expect(await list({ tags: { run: 'x' }, states: [FlowState.ACTIVE] })).toEqual(newest.slice(1));
    const { createTime } = (await last?.get()) ?? {};
    expect(await list({ name: 'listed', minCreateTime: createTime })).toEqual([last?.id]);
    expect(await list({ name: 'listed', maxCreateTime: createTime })).toEqual(newest.slice(1));
    expect(await list({ namespace: 'elsewhere' })).toEqual([]);
    expect(await list({ name: 'Listed' })).toEqual([]);

    const stats = await desk.admin.getStats({});
    expect(stats.flows.find(({ state }) => state === FlowState.ACTIVE)?.count).toBeGreaterThanOrEqual(4n);
  });
});

describe('members', () => {
  it('are listed oldest first, and by what they are', async () => {
    const flow = await hand.flow({ ...THREE, members: { ...THREE.members, d: { optionalInFlow: true } } });
    await flow.complete('a');
    const oldest = [...flow.ids.values()].sort();
    const members = (states: ExecutionState[] = []) =>
      paged(async (page) => {
        const answer = await desk.admin.listFlowMembers({ flowId: flow.id, states, ...page });
        return { keys: answer.members.map(({ executionId }) => executionId), nextPageToken: answer.nextPageToken };
      });
    const executions = (filter: object) =>
      paged(async (page) => {
        const answer = await desk.admin.listExecutions({ filter, ...page });
        return { keys: answer.executions.map(({ executionId }) => executionId), nextPageToken: answer.nextPageToken };
      });
    expect(await members()).toEqual(oldest);
    expect(await members([ExecutionState.BLOCKED])).toEqual([flow.of('c')]);
    expect(await members([ExecutionState.SUCCEEDED])).toEqual([flow.of('a')]);
    expect(await executions({ flowId: flow.id })).toEqual([...oldest].reverse());
    expect(await executions({ flowId: flow.id, types: ['b'] })).toEqual([flow.of('b')]);
    expect(await executions({ flowId: flow.id, states: [ExecutionState.BLOCKED] })).toEqual([flow.of('c')]);
    expect(await executions({ states: [ExecutionState.BLOCKED], lanes: [flow.lane] })).toEqual([flow.of('c')]);

    const { execution } = await desk.admin.getExecution({ executionId: flow.of('c') });
    const { joinId } = await flow.join('c');
    expect(execution).toMatchObject({
      state: ExecutionState.BLOCKED,
      flowId: flow.id,
      optionalInFlow: false,
      parentExecutionId: '',
      attemptCount: 0,
      block: { kind: BlockKind.JOIN, subject: joinId },
    });
    const optional = await desk.admin.getExecution({ executionId: flow.of('d') });
    expect(optional.execution).toMatchObject({ optionalInFlow: true, state: ExecutionState.QUEUED });
    expect(optional.execution?.block).toBeUndefined();
  });

  it('show when a join let them go on to wait for their time', async () => {
    const flow = await hand.flow({ members: { a: {}, b: { delay: seconds(3_600) } }, links: [['a', 'b']] });
    const before = (await desk.admin.getExecution({ executionId: flow.of('b') })).execution;
    expect(before).toMatchObject({ state: ExecutionState.BLOCKED });
    await flow.complete('a');
    const after = (await desk.admin.getExecution({ executionId: flow.of('b') })).execution;
    const { decideTime } = await flow.join('b');
    expect(after).toMatchObject({ state: ExecutionState.SCHEDULED, runTime: before?.runTime, stateTime: decideTime });
    await flow.cancel();
  });

  it('have attempts and dead letters that are listed by their flow', async () => {
    const flow = await hand.flow({ members: { a: {}, b: {}, c: {} } });
    const other = await hand.flow({ members: { a: {} } });
    await other.fail('a');
    await hand.release(await flow.claim('a'));
    await flow.fail('a');
    await flow.claim('b');
    const listed = await paged(async (page) => {
      const { attempts, nextPageToken } = await desk.admin.listAttempts({ flowId: flow.id, ...page });
      return { keys: attempts.map((one) => `${one.type}${one.attemptNumber}`), nextPageToken };
    });
    expect(listed).toEqual(
      [...flow.ids]
        .sort(([, x], [, y]) => (x < y ? 1 : -1))
        .flatMap(([name]) => ({ a: ['a2', 'a1'], b: ['b1'] })[name] ?? []),
    );
    const ended = await desk.admin.listAttempts({ flowId: flow.id, outcomes: [AttemptOutcome.FAILED] });
    expect(ended.attempts).toMatchObject([{ type: 'a', attemptNumber: 2, flowId: flow.id }]);
    const mine = { executionId: flow.of('a'), flowId: flow.id };
    expect((await desk.admin.listAttempts(mine)).attempts.length).toBe(2);
    expect((await desk.admin.listAttempts({ ...mine, flowId: other.id })).attempts).toEqual([]);

    const { deadLetters } = await desk.deadLetters.listDeadLetters({ filter: { flowId: flow.id } });
    expect(deadLetters).toMatchObject([{ flowId: flow.id, subject: { subject: { value: flow.of('a') } } }]);
    expect((await desk.deadLetters.countDeadLetters({ filter: { flowId: other.id } })).count).toBe(1n);
    expect((await desk.deadLetters.countDeadLetters({ filter: { flowId: NOBODY } })).count).toBe(0n);
  });
});

describe('what a join leaves behind', () => {
  it('names the slots that came and those that did not, once its time was up', async () => {
    const flow = await hand.flow({
      members: { a: {}, b: {}, end: {} },
      links: [
        ['a', 'end'],
        ['b', 'end', { name: 'second' }],
      ],
      joins: { end: { timeout: seconds(6) } },
    });
    await flow.complete('a');
    expect(await flow.end('end')).toEqual({ state: 'FAILED', reason: EndReason.JOIN_EXPIRED });
    const { deadLetters } = await desk.deadLetters.listDeadLetters({ filter: { flowId: flow.id } });
    const { deadLetter } = await desk.deadLetters.getDeadLetter({ deadLetterId: deadLetters[0]?.deadLetterId ?? '' });
    expect(deadLetter).toMatchObject({
      reason: DeadLetterReason.JOIN_EXPIRED,
      filledSlots: ['a'],
      missingSlots: ['second'],
    });
    expect(await flow.join('end')).toMatchObject({ state: JoinState.EXPIRED, okCount: 1 });
    await flow.complete('b');
    await eventually(async () => (await flow.join('end')).lateCount === 1);
  });

  it('is counted in its lane while it waits', async () => {
    const flow = await hand.flow(THREE);
    const parent = await hand.createOne({ lane: flow.lane, type: 'parent' });
    await hand.waitForChildren(await hand.claimNamed(parent), [{ execution: { type: 'child', lane: 'elsewhere' } }]);
    await desk.caughtUp();
    const { lane } = await desk.admin.getLane({ lane: flow.lane });
    expect(lane?.counts).toMatchObject({ blocked: 2n, queued: 1n, waitingChildren: 1n });
    await hand.cancel(parent);
    await flow.cancel();
  });
});

describe('ListEdges', () => {
  it('lists those of a flow, and those around an execution', async () => {
    const flow = await hand.flow({
      members: THREE.members,
      links: [
        ['a', 'b', { name: 'first', source: 'somebody' }],
        ['a', 'c', { optional: true }],
        ['b', 'c'],
      ],
    });
    const edges = (filter: object) =>
      paged(async (page) => {
        const answer = await desk.admin.listEdges({ ...filter, ...page });
        const name = (id: string) => [...flow.ids].find(([, one]) => one === id)?.[0] ?? '';
        return {
          keys: answer.edges.map((e) => `${name(e.upstreamExecutionId)}${name(e.downstreamExecutionId)}`),
          nextPageToken: answer.nextPageToken,
        };
      });
    const [b, c] = [['ab'], ['ac', 'bc']];
    const inOrder = flow.of('b') < flow.of('c') ? [...b, ...c] : [...c, ...b];
    expect(await edges({ flowId: flow.id })).toEqual(inOrder);
    const around = { executionId: flow.of('b') };
    expect((await edges(around)).sort()).toEqual(['ab', 'bc']);
    expect(await edges({ ...around, direction: EdgeDirection.UPSTREAM })).toEqual(['ab']);
    expect(await edges({ ...around, direction: EdgeDirection.DOWNSTREAM })).toEqual(['bc']);
    expect(await edges({ executionId: flow.of('a'), direction: EdgeDirection.UPSTREAM })).toEqual([]);

    await flow.complete('a');
    const { joinId } = await flow.join('b');
    const told = await desk.admin.listEdges({ ...around, direction: EdgeDirection.UPSTREAM });
    expect(told.edges).toMatchObject([
      {
        flowId: flow.id,
        name: 'first',
        source: 'somebody',
        optional: false,
        joinId,
        index: 0,
        outcome: SlotOutcome.OK,
        late: false,
      },
    ]);
    const open = await desk.admin.listEdges({ ...around, direction: EdgeDirection.DOWNSTREAM });
    expect(open.edges).toMatchObject([{ outcome: SlotOutcome.UNSPECIFIED, source: flow.of('b') }]);
    await flow.cancel();
  });

  it('refuses what names both, none, or nothing there is', async () => {
    const named = { flowId: NOBODY, executionId: NOBODY };
    expect(await refusal(desk.admin.listEdges(named))).toMatchObject({ reason: 'INVALID_FIELD' });
    expect(await refusal(desk.admin.listEdges({}))).toMatchObject({ reason: 'INVALID_FIELD' });
    expect(await refusal(desk.admin.listEdges({ executionId: NOBODY }))).toMatchObject({
      reason: 'EXECUTION_NOT_FOUND',
    });
    const aimless = { flowId: NOBODY, direction: EdgeDirection.BOTH };
    expect((await refusal(desk.admin.listEdges(aimless))).fieldViolations).toMatchObject([{ field: 'direction' }]);
  });
});

describe('ListJoins', () => {
  it('lists those of a flow or an execution, newest first', async () => {
    const flow = await hand.flow({
      ...THREE,
      joins: {
        c: {
          mode: JoinMode.QUORUM,
          quorum: 1,
          onSatisfied: OnSatisfied.CANCEL_REST,
          timeout: seconds(3_600),
          onTimeout: OnJoinTimeout.RELEASE_PARTIAL,
        },
      },
    });
    const joins = (filter: object) =>
      paged(async (page) => {
        const answer = await desk.admin.listJoins({ ...filter, ...page });
        return {
          keys: answer.joins.map(({ downstreamExecutionId }) => downstreamExecutionId),
          nextPageToken: answer.nextPageToken,
        };
      });
    const both = [flow.of('b'), flow.of('c')].sort();
    expect((await joins({ flowId: flow.id })).sort()).toEqual(both);
    const { joins: asked } = await desk.admin.listJoins({ flowId: flow.id });
    expect(asked.map(({ joinId }) => joinId)).toEqual(
      asked
        .map(({ joinId }) => joinId)
        .sort()
        .reverse(),
    );
    expect(await flow.join('c')).toMatchObject({
      kind: JoinKind.EDGES,
      flowId: flow.id,
      state: JoinState.OPEN,
      sealed: true,
      slotCount: 2,
      okCount: 0,
      policy: {
        mode: JoinMode.QUORUM,
        quorum: 1,
        distinctSources: false,
        onSatisfied: OnSatisfied.CANCEL_REST,
        onTimeout: OnJoinTimeout.RELEASE_PARTIAL,
        timeout: { seconds: 3_600n },
      },
    });
    const { createTime, expireTime } = await flow.join('c');
    if (!createTime || !expireTime) throw new Error('a join without times');
    expect(timestampDate(expireTime).getTime() - timestampDate(createTime).getTime()).toBe(3_600_000);
    await flow.complete('a');
    expect(await flow.join('c')).toMatchObject({ state: JoinState.SATISFIED, okCount: 1 });
    // The loser's slot is filled right after.
    await eventually(async () => (await flow.join('c')).lateCount === 1);
    expect(await flow.join('c')).toMatchObject({ okCount: 1, failedCount: 1, skippedCount: 0 });
    expect((await joins({ flowId: flow.id, states: [JoinState.SATISFIED] })).sort()).toEqual(both);
    expect(await joins({ flowId: flow.id, states: [JoinState.OPEN] })).toEqual([]);
    expect(await joins({ flowId: flow.id, kinds: [JoinKind.CHILDREN] })).toEqual([]);
    expect(await joins({ executionId: flow.of('c'), flowId: NOBODY })).toEqual([]);
    expect(await refusal(desk.admin.listJoins({}))).toMatchObject({ reason: 'INVALID_FIELD' });
    await flow.cancel();
  });
});

describe('children', () => {
  it('stand below their parent in the tree, and are listed by it', async () => {
    const flow = await hand.flow({ members: { root: {}, lone: {} } });
    const { lane } = flow;
    const spawn = async (type: string, types: string[]) => {
      const children = types.map((child) => ({ name: child, execution: { type: child, lane } }));
      const { childExecutionIds } = await hand.waitForChildren(await flow.claim(type), children);
      for (const [i, id] of childExecutionIds.entries()) flow.ids.set(types[i] ?? '', id);
    };
    await spawn('root', ['x', 'y', 'z']);
    await spawn('y', ['y1', 'y2']);
    await spawn('y1', ['deep']);

    const name = (id: string) => [...flow.ids].find(([, one]) => one === id)?.[0] ?? id;
    const tree = (more: object = {}) =>
      paged(async (page) => {
        const { nodes, nextPageToken } = await desk.admin.getFlowTree({ flowId: flow.id, ...more, ...page });
        return {
          keys: nodes.map((node) => `${node.depth}${name(node.parentNodeId)}>${name(node.nodeId)}`),
          nextPageToken,
        };
      });
    const all = ['0>lone', '0>root', '1root>x', '1root>y', '1root>z', '2y>y1', '2y>y2', '3y1>deep'];
    const whole = await tree();
    expect([...whole].sort()).toEqual([...all].sort());
    const place = (key: string) => whole.findIndex((one) => one.endsWith(`>${key}`));
    expect([...flow.ids.keys()].every((key) => place(key) >= 0)).toBe(true);
    expect(place('root') < place('y') && place('y') < place('y1') && place('y1') < place('deep')).toBe(true);
    expect((await tree({ maxDepth: 1 })).sort()).toEqual(all.filter((one) => /^[01]/.test(one)).sort());
    const below = await tree({ rootNodeId: flow.of('y') });
    expect(below[0]).toBe('0>y');
    expect([...below].sort()).toEqual(['0>y', '1y>y1', '1y>y2', '2y1>deep']);
    expect(await tree({ rootNodeId: flow.of('y'), maxDepth: 1 })).toHaveLength(3);
    expect(await refusal(tree({ rootNodeId: NOBODY }))).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });

    const children = await desk.admin.listExecutions({ filter: { parentExecutionId: flow.of('y') } });
    expect(children.executions.map(({ executionId }) => name(executionId)).sort()).toEqual(['y1', 'y2']);
    expect(children.executions).toMatchObject([
      { flowId: flow.id, parentExecutionId: flow.of('y') },
      { flowId: flow.id, parentExecutionId: flow.of('y') },
    ]);
    const elsewhere = { filter: { parentExecutionId: flow.of('y'), flowId: NOBODY } };
    expect((await desk.admin.listExecutions(elsewhere)).executions).toEqual([]);
    const waiting = { filter: { states: [ExecutionState.WAITING_CHILDREN], lanes: [lane] } };
    expect((await desk.admin.listExecutions(waiting)).executions.map(({ type }) => type).sort()).toEqual([
      'root',
      'y',
      'y1',
    ]);
    await flow.cancel({ policy: { mode: CancelMode.NOW } });
  });

  it('leave the attempt of their parent open, wherever it stands', async () => {
    const [lane, type] = ['parents', 'parent'];
    const id = await hand.createOne({ lane, type });
    const claim = await hand.claimNamed(id);
    await hand.progress(claim, 25, 'spawned');
    const child = { name: 'child', execution: { type: 'child', lane } };
    const { joinId, childExecutionIds } = await hand.waitForChildren(claim, [child]);
    const look = async () => (await desk.admin.getExecution({ executionId: id })).execution;
    const open = async () => (await desk.admin.listAttempts({ executionId: id })).attempts;
    const attempt = {
      attemptNumber: 1,
      outcome: AttemptOutcome.UNSPECIFIED,
      worker: hand.worker,
      fencingToken: claim.lease?.fencingToken,
      progress: { percent: 25, message: 'spawned' },
    };
    const waiting = await look();
    expect(waiting).toMatchObject({
      state: ExecutionState.WAITING_CHILDREN,
      attemptCount: 1,
      progress: { percent: 25 },
      block: { kind: BlockKind.JOIN, subject: joinId },
    });
    expect(waiting?.lease).toBeUndefined();
    expect(await open()).toMatchObject([attempt]);
    expect(await flowless(lane, type)).toMatchObject([attempt]);
    await hand.complete(await hand.claimNamed(childExecutionIds[0] ?? ''));
    expect(await look()).toMatchObject({ state: ExecutionState.QUEUED, attemptCount: 1, progress: { percent: 25 } });
    expect(await open()).toMatchObject([attempt]);
    const [{ startTime } = { startTime: undefined }] = await open();
    const resumed = await hand.claimNamed(id);
    const running = await look();
    expect(running).toMatchObject({ state: ExecutionState.RUNNING, attemptCount: 1, startTime });
    expect(running?.lease?.grantTime).toEqual(running?.stateTime);
    expect(running?.stateTime).not.toEqual(startTime);
    expect(resumed.attemptTimeoutTime).toBeUndefined();
    expect(await open()).toMatchObject([
      { attemptNumber: 1, fencingToken: resumed.lease?.fencingToken, startTime, outcome: AttemptOutcome.UNSPECIFIED },
    ]);
    await hand.complete(resumed);
    expect(await open()).toMatchObject([{ attemptNumber: 1, outcome: AttemptOutcome.SUCCEEDED, startTime }]);
  });

  async function flowless(lane: string, type: string) {
    return (await desk.admin.listAttempts({ lane, type })).attempts;
  }
});

describe('ListFailedFlows', () => {
  it('lists the last failure first, while somebody has to look at it', async () => {
    const made: MadeFlow[] = [];
    for (let i = 0; i < 5; i++) {
      made.push(await hand.flow({ members: { a: {}, b: {} } }, { name: `f${i}`, tags: { failing: 'x' } }));
    }
    const order = [3, 0, 4, 2].map((i) => made[i]).filter((flow) => flow !== undefined);
    for (const flow of order) await flow.fail('a');
    const list = (more: object = {}) =>
      paged(async (page) => {
        const answer = await desk.admin.listFailedFlows({ tags: { failing: 'x' }, ...more, ...page });
        return { keys: answer.flows.map(({ name }) => name), nextPageToken: answer.nextPageToken };
      });
    await eventually(async () => (await list()).length === 4);
    expect(await list()).toEqual(['f2', 'f4', 'f0', 'f3']);
    const { flows } = await desk.admin.listFailedFlows({ tags: { failing: 'x' } });
    expect(flows[0]).toMatchObject({
      flowId: made[2]?.id,
      namespace: 'default',
      state: FlowState.ACTIVE,
      failedCount: 1n,
      liveCount: 1n,
      openDeadLetterCount: 1n,
      lastFailure: { executionId: made[2]?.of('a'), reason: EndReason.PERMANENT },
    });
    const third = flows[2]?.lastFailure?.endTime;
    expect(await list({ maxFailureTime: third })).toEqual(['f3']);
    expect((await list({ minFailureTime: third })).at(-1)).toBe('f0');
    expect(await list({ namespace: 'elsewhere' })).toEqual([]);
    expect(await list({ tags: { failing: 'y' } })).toEqual([]);
  });
});

describe('ExplainExecution', () => {
  const explain = async (executionId: string) => await desk.admin.explainExecution({ executionId });

  it('names the join, what is missing and when its time is up', async () => {
    const flow = await hand.flow({
      members: { a: {}, b: {}, c: {}, d: {}, e: {}, end: {} },
      links: ['a', 'b', 'c', 'd', 'e'].map((one) => [one, 'end'] as const),
      joins: { end: { timeout: seconds(3_600) } },
    });
    await flow.complete('a');
    await flow.claim('b');
    const { joinId, expireTime } = await flow.join('end');
    const told = await explain(flow.of('end'));
    expect(told.state).toBe(ExecutionState.BLOCKED);
    expect(told.holds[0]).toMatchObject({ kind: HoldKind.JOIN, subject: joinId, untilTime: expireTime });
    expect(told.summary).toMatch(/all of its upstreams: 1 of 5 slots are filled; missing: b \(.*, RUNNING\), c \(/);
    expect(told.summary).toMatch(/1 more\. Its time is up at .*; then it fails\.$/);
    expect(told.nextTimer).toMatchObject({ kind: TimerKind.JOIN, fireTime: expireTime });
    await flow.cancel({ policy: { mode: CancelMode.NOW } });
  });

  it('names the children that have not ended', async () => {
    const id = await hand.createOne({ lane: 'explained', type: 'parent' });
    const children = ['one', 'two'].map((name) => ({ name, execution: { type: name, lane: 'explained' } }));
    const { joinId } = await hand.waitForChildren(await hand.claimNamed(id), children, { mode: JoinMode.ANY });
    const told = await explain(id);
    expect(told.holds[0]).toMatchObject({ kind: HoldKind.CHILDREN, subject: joinId });
    expect(told.summary).toMatch(/one success of its children: 0 of 2 children have ended; missing: one \(.*QUEUED\)/);
    expect(told.nextTimer).toBeUndefined();
    await hand.cancel(id);
  });
});
