/** What is shown of events: flows that wait for them, trees of causes, the log, letters and figures. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { FlowMilestone } from '../../../gen/tailrace/v1/completion_service_pb.js';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { EmittedEvent, EventSpec } from '../../../gen/tailrace/v1/event_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState, type FlowTreeNode } from '../../../gen/tailrace/v1/flow_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import { type LogEntry, LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { type ByHand, type Init, leaseOf, ok, only, refusal, seconds, text } from '../../support/by-hand.js';
import { eventually } from '../../support/eventually.js';
import { FlowFollower } from '../../support/flow-follower.js';
import { HeldRows } from '../../support/held-rows.js';
import { Recorded } from '../../support/history/recorded.js';

const PUBLISHED = LogEntryKind.EVENT_PUBLISHED;
const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

async function publish(...events: Init<EventSpec>[]) {
  const { results } = await recorded.clients.engine.publishEvents({ events });
  return results.map(ok);
}

async function subscribe(name: string, type: string, more: object = {}): Promise<void> {
  const subscription = { name, filter: { eventTypes: [type] }, lane: name, type: name, ...more };
  await recorded.clients.admin.putSubscription({ subscription });
}

async function complete(claim: Claim, events: Init<EmittedEvent>[] = []) {
  const completions = [{ lease: leaseOf(claim), result: text('done'), events }];
  return ok(only((await recorded.clients.engine.completeExecutions({ completions })).results));
}

const claimFrom = (lane: string) => hand.claimOne({ lanes: [{ lane }], ...long });

async function flowOf(flowId: string) {
  const { flow } = await recorded.clients.admin.getFlow({ flowId });
  if (flow === undefined) throw new Error('no such flow');
  return flow;
}

async function openFlow(): Promise<string> {
  const { flowId } = await recorded.clients.engine.createFlow({ flow: { open: true } });
  return flowId;
}

async function treeOf(flowId: string, more: object = {}, pageSize = 100): Promise<FlowTreeNode[]> {
  const nodes: FlowTreeNode[] = [];
  let pageToken = '';
  do {
    const page = await recorded.clients.admin.getFlowTree({ flowId, pageSize, pageToken, ...more });
    nodes.push(...page.nodes);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return nodes;
}

/** Each node as its type below that of its parent. */
function drawn(nodes: readonly FlowTreeNode[]): string[] {
  const types = new Map(nodes.map(({ nodeId, node }) => [nodeId, node.value?.type ?? '']));
  return nodes.map(({ nodeId, parentNodeId, depth }) =>
    [depth, types.get(nodeId), ...(parentNodeId === '' ? [] : ['by', types.get(parentNodeId)])].join(' '),
  );
}

async function logged(filter: object): Promise<LogEntry[]> {
  return (await recorded.clients.admin.listLogEntries({ filter, oldestFirst: true })).entries;
}

const named = (entries: readonly LogEntry[]) => entries.map(({ kind, type }) => [kind, type]);

test('a flow that an event started knows it, counts its events, and settles with the last reaction', async () => {
  await subscribe('pay', 'order.placed');
  const [placed] = await publish({ type: 'order.placed', eventId: 'order 1' });
  const flowId = placed?.flowId ?? '';
  expect(await flowOf(flowId)).toMatchObject({ state: FlowState.ACTIVE, settled: false, rootEventId: 'order 1' });
  await complete(await claimFrom('pay'), [{ type: 'order.paid' }]);
  const awaited = { flowId, until: FlowMilestone.SETTLED, timeout: seconds(10) };
  expect((await recorded.clients.completion.awaitFlow(awaited)).done).toBe(true);
  await eventually(async () => {
    const { eventCount, executions } = await flowOf(flowId);
    return eventCount === 2n && executions.length === 1;
  });
  expect(await flowOf(flowId)).toMatchObject({
    ...{ state: FlowState.IDLE, settled: true, unroutedEventCount: 0n },
    executions: [{ state: ExecutionState.SUCCEEDED, count: 1n }],
  });
  const opened = await openFlow();
  await publish({ type: 'nobody.cares', flowId: opened });
  expect(await flowOf(opened)).toMatchObject({ rootEventId: '' });
  await eventually(async () => (await flowOf(opened)).state === FlowState.IDLE);
});

test('proof 5: while an event is unrouted its flow is not settled, whoever asks', async () => {
  await subscribe('in order', 'step.taken', { orderingKey: { source: { case: 'flow', value: true } } });
  const flowId = await openFlow();
  const held = await HeldRows.start(recorded.tailrace.database);
  const settled = (timeout: number) =>
    recorded.clients.completion.awaitFlow({ flowId, until: FlowMilestone.SETTLED, timeout: seconds(timeout) });
  let later: ReturnType<typeof settled>;
  try {
    await held.holdTable('flow_live');
    await publish({ type: 'step.taken', flowId }, { type: 'step.taken', flowId });
    expect(await flowOf(flowId)).toMatchObject({ settled: false, state: FlowState.ACTIVE, unroutedEventCount: 2n });
    expect(await recorded.clients.admin.getStats({})).toMatchObject({ unroutedEventCount: 2n });
    later = settled(30);
    expect((await settled(0.2)).done).toBe(false);
  } finally {
    await held.release();
  }
  for (let i = 0; i < 2; i++) await complete(await claimFrom('in order'));
  expect(await later).toMatchObject({ done: true, flow: { unroutedEventCount: 0n } });
  const { members } = await recorded.clients.admin.listFlowMembers({ flowId });
  expect(members.map(({ state }) => state)).toEqual([ExecutionState.SUCCEEDED, ExecutionState.SUCCEEDED]);
});

test('proof 5: waits that begin while events are published, routed and answered never answer early', async () => {
  await subscribe('race plain', 'race.begun');
  await subscribe('race ordered', 'race.begun', { orderingKey: { source: { case: 'flow', value: true } } });
  await subscribe('race on', 'race.went on');
  const flows = await Promise.all(Array.from({ length: 12 }, openFlow));
  const over = new AbortController();
  const work = async (lane: string, events: Init<EmittedEvent>[]) => {
    while (!over.signal.aborted) {
      const claims = await hand.claim({ lanes: [{ lane }], maxExecutions: 20, wait: seconds(0.5), ...long });
      await Promise.all(claims.map((claim) => complete(claim, events)));
    }
  };
  const working = [work('race plain', [{ type: 'race.went on' }]), work('race ordered', []), work('race on', [])];
  const states = async (flowId: string) => {
    const { members } = await recorded.clients.admin.listFlowMembers({ flowId });
    return members.map(({ state }) => state);
  };
  const ended = Array.from({ length: 3 }, () => ExecutionState.SUCCEEDED);
  try {
    await Promise.all(
      flows.map(async (flowId, i) => {
        const awaiting = async () => {
          const asked = { flowId, until: FlowMilestone.SETTLED, timeout: seconds(20) };
          const { done } = await recorded.clients.completion.awaitFlow(asked);
          return { done, states: await states(flowId) };
        };
        const before = awaiting();
        const follower = i % 5 === 0 ? new FlowFollower(() => recorded.clients.completion, flowId) : undefined;
        // Who begins later sees it settled at first, and lacks what was before.
        await follower?.placed();
        const published = publish({ type: 'race.begun', flowId });
        const during = awaiting();
        await published;
        for (const waited of [before, during, awaiting()]) expect(await waited).toEqual({ done: true, states: ended });
        await recorded.clients.engine.sealFlow({ flowId });
        const asked = { flowId, until: FlowMilestone.ENDED, timeout: seconds(20) };
        expect(await recorded.clients.completion.awaitFlow(asked)).toMatchObject({ done: true });
        if (follower === undefined) return;
        expect((await follower.end).state).toBe(FlowState.SUCCEEDED);
        expect(follower.states.filter(({ settled }) => settled)).toHaveLength(1);
        const told = follower.entries.filter(({ kind }) => kind === PUBLISHED).map(({ type }) => type);
        expect(told).toContain('race.went on');
      }),
    );
  } finally {
    over.abort();
    await Promise.all(working);
  }
});

test('the tree shows events and executions below what caused them, page by page', async () => {
  await subscribe('tree a', 'tree.begun');
  await subscribe('tree b', 'tree.grown');
  const [begun] = await publish({ type: 'tree.begun', eventId: 'tree 1', payload: text('not shown') });
  const flowId = begun?.flowId ?? '';
  await complete(await claimFrom('tree a'), [{ type: 'tree.grown' }, { type: 'tree.noted' }]);
  const branch = await claimFrom('tree b');
  const child = { name: 'child', execution: { type: 'tree child', lane: 'tree child' } };
  await recorded.clients.engine.waitForChildren({ lease: leaseOf(branch), children: [child] });
  await complete(await claimFrom('tree child'), [{ type: 'tree.last' }]);
  await publish({ type: 'tree.added', causeEventId: 'tree 1' }, { type: 'tree.apart', flowId });
  const elsewhere = await openFlow();
  await publish({ type: 'tree.other', causeEventId: 'tree 1', flowId: elsewhere });

  const whole = await treeOf(flowId);
  expect(drawn(whole)).toEqual([
    '0 tree.begun',
    '1 tree a by tree.begun',
    '2 tree.grown by tree a',
    '3 tree b by tree.grown',
    '4 tree child by tree b',
    '5 tree.last by tree child',
    '2 tree.noted by tree a',
    '1 tree.added by tree.begun',
    '0 tree.apart',
  ]);
  expect(whole[0]).toMatchObject({ nodeId: 'tree 1', parentNodeId: '' });
  expect(whole[0]?.node).toMatchObject({ case: 'event', value: { payloadOmitted: true, hops: 0 } });
  expect(whole[1]?.parentNodeId).toBe('tree 1');
  for (const size of [1, 4]) expect(await treeOf(flowId, {}, size)).toEqual(whole);
  const below = await treeOf(flowId, { rootNodeId: whole[2]?.nodeId, maxDepth: 2 }, 2);
  expect(drawn(below)).toEqual(['0 tree.grown', '1 tree b by tree.grown', '2 tree child by tree b']);
  expect(drawn(await treeOf(flowId, { rootNodeId: 'tree 1', maxDepth: 1 }))).toEqual([
    '0 tree.begun',
    '1 tree a by tree.begun',
    '1 tree.added by tree.begun',
  ]);
  expect(drawn(await treeOf(flowId, { rootNodeId: whole[4]?.nodeId.toUpperCase() }))).toHaveLength(2);
  expect(drawn(await treeOf(elsewhere))).toEqual(['0 tree.other']);
  expect((await treeOf(elsewhere))[0]?.node.value).toMatchObject({ causeEventId: 'tree 1', hops: 1 });
  for (const rootNodeId of ['tree 1', 'no such event']) {
    const asked = recorded.clients.admin.getFlowTree({ flowId: elsewhere, rootNodeId });
    expect((await refusal(asked)).reason).toBe('EXECUTION_NOT_FOUND');
  }
});

test('the log tells of events with what they hold, to whoever asks for their types, streams or tags', async () => {
  const watched: LogEntry[] = [];
  const over = new AbortController();
  const filter = { eventTypes: ['log.small', 'log.large'] };
  const { cursor: cursorBefore } = only(
    await logged({ kinds: [LogEntryKind.FLOW_CREATED] }).then((all) => all.slice(-1)),
  );
  const watching = (async () => {
    const asked = { filter, cursor: cursorBefore };
    for await (const { entries } of recorded.clients.completion.watchLog(asked, { signal: over.signal })) {
      watched.push(...entries);
    }
  })().catch(() => undefined);
  const tags = { country: 'at' };
  const runner = await hand.createOne({ type: 'log runner', lane: 'log' });
  const large = 'x'.repeat(65_537);
  await publish(
    { type: 'log.small', stream: 'log/1', eventId: 'log 1', payload: text('small'), tags },
    { type: 'log.large', stream: 'log/2', payload: text(large) },
    { type: 'log.else', stream: 'log/1' },
  );
  const { eventIds } = await complete(await hand.claimNamed(runner, long), [{ type: 'log.emitted', tags }]);
  await eventually(() => watched.length === 2);
  expect(watched[0]).toMatchObject({ kind: PUBLISHED, subject: 'log 1', type: 'log.small', tags, executionId: '' });
  expect(watched[0]?.body).toMatchObject({
    case: 'event',
    value: { eventId: 'log 1', stream: 'log/1', streamVersion: 1n, payload: { body: { value: 'small' } } },
  });
  expect(watched[0]?.body.value).toMatchObject({ cursor: watched[0]?.cursor });
  expect(watched[1]?.body).toMatchObject({ value: { payloadOmitted: true, streamVersion: 1n } });
  over.abort();
  await watching;

  const ids = (entries: readonly LogEntry[]) => entries.map(({ type }) => type);
  expect(await logged(filter)).toEqual(watched);
  expect(ids(await logged({ streams: ['log/1'] }))).toEqual(['log.small', 'log.else']);
  expect(ids(await logged({ kinds: [PUBLISHED], tags }))).toEqual(['log.small', 'log.emitted']);
  expect(ids(await logged({ types: ['log.else'] }))).toEqual(['log.else']);
  const both = { kinds: [PUBLISHED, LogEntryKind.EXECUTION_CREATED], eventTypes: ['log.else'], types: ['log runner'] };
  expect(ids(await logged(both))).toEqual(['log runner', 'log.else']);
  expect(
    await logged({ kinds: [LogEntryKind.EXECUTION_CREATED], eventTypes: ['log.else'], lanes: ['log'] }),
  ).toHaveLength(1);
  expect(await logged({ lanes: ['log'], eventTypes: ['log.else'] })).toHaveLength(0);

  // It stands in no flow; its event does.
  const own = await logged({ executionId: runner });
  expect(named(own)).toEqual([
    [LogEntryKind.EXECUTION_CREATED, 'log runner'],
    [LogEntryKind.ATTEMPT_STARTED, 'log runner'],
    ...named(own).filter(([kind]) => kind === LogEntryKind.ATTEMPT_ENDED || kind === LogEntryKind.EXECUTION_SUCCEEDED),
    [PUBLISHED, 'log.emitted'],
  ]);
  expect(own.at(-1)).toMatchObject({ subject: only(eventIds), executionId: runner });
  const flowId = own.at(-1)?.flowId ?? '';
  expect(await flowOf(flowId)).toMatchObject({ rootEventId: only(eventIds) });
  expect(named(await logged({ flowId, eventTypes: ['log.emitted'] }))).toEqual([[PUBLISHED, 'log.emitted']]);
});

test('letters name their event and subscription, and are found by them', async () => {
  await subscribe('breaks', 'to.break');
  const [breaking] = await publish({ type: 'to.break', eventId: 'break 1', tags: { country: 'de' } });
  const claim = await claimFrom('breaks');
  await hand.fail(claim, FailureClass.PERMANENT);
  const links = Array.from({ length: 66 }, (_, i) => ({
    ...{ type: 'hop', eventId: `hop ${i}` },
    ...(i > 0 && { causeEventId: `hop ${i - 1}` }),
  }));
  expect((await publish(...links)).at(-1)).toMatchObject({ hops: 65 });
  const found = async (filter: object) => (await recorded.clients.deadLetters.listDeadLetters({ filter })).deadLetters;
  const [broken, ...others] = await found({ subscriptions: ['breaks', 'none'] });
  expect(others).toEqual([]);
  expect(broken).toMatchObject({
    subject: { subject: { case: 'executionId', value: claim.lease?.executionId } },
    ...{ eventId: 'break 1', eventType: 'to.break', subscription: 'breaks', flowId: breaking?.flowId },
  });
  expect(await found({ eventTypes: ['to.break'] })).toEqual([broken]);
  const hopped = only(await found({ eventTypes: ['hop'], reasons: [DeadLetterReason.HOP_LIMIT] }));
  expect(hopped).toMatchObject({
    subject: { subject: { case: 'eventId', value: 'hop 65' } },
    ...{ eventId: 'hop 65', eventType: 'hop', type: 'hop', subscription: '', lane: '' },
  });
  expect(await found({ subscriptions: ['breaks'], eventTypes: ['hop'] })).toEqual([]);
  const counted = await recorded.clients.deadLetters.countDeadLetters({ filter: { eventTypes: ['hop', 'to.break'] } });
  expect(counted.count).toBe(2n);
  const failed = async () => (await recorded.clients.admin.listFailedFlows({})).flows;
  // The flow settles after its member has ended.
  await eventually(async () => (await failed()).length > 0);
  expect(await failed()).toMatchObject([
    { flowId: breaking?.flowId, failedCount: 1n, liveCount: 0n, openDeadLetterCount: 1n },
  ]);
});

test('figures count every event once', async () => {
  const published = await recorded.clients.admin.listLogEntries({ filter: { kinds: [PUBLISHED] }, pageSize: 1_000 });
  await eventually(async () => {
    const { eventCount, unroutedEventCount } = await recorded.clients.admin.getStats({});
    return eventCount === BigInt(published.entries.length) && unroutedEventCount === 0n;
  });
  expect(await recorded.clients.admin.getStats({ namespace: 'elsewhere' })).toMatchObject({ eventCount: 0n });
});
