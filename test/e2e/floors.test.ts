/**
 * What a namespace does not show any more: from the moment its floor moves past an end, nobody finds what ended, by whatever
 * call; what is open stays, and so does what is remembered.
 */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { refusal, seconds, text } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand, type MadeFlow } from '../support/flows-by-hand.js';
import { FramesByHand, text as frame } from '../support/frames-by-hand.js';
import { type Clients, startTailrace, type TestTailrace } from '../support/tailrace.js';

const MONTH = seconds(30 * 86_400);
const REQUEST = 'asked once';
const tags = { of: 'the past' };
const TYPE = 'told';

let tailrace: TestTailrace;
let hand: FlowsByHand;
/** Ended: one on its own with output, one with an open dead letter, a flow with its members, the first member of an open one. */
const ended = { alone: '', failed: '', member: '', first: '' };
/** Not ended: one on its own, and the second member of the open flow. */
const open = { alone: '', second: '' };
let endedFlow: MadeFlow;
let failedFlow: MadeFlow;
let openFlow: MadeFlow;
const letters = { open: '', closed: '' };
const events = { named: 'the named one', unnamed: '', cause: '' };

type Call = (clients: Clients, id: string) => Promise<unknown>;

const EXECUTION: Readonly<Record<string, Call>> = {
  GetExecution: ({ admin }, executionId) => admin.getExecution({ executionId }),
  ExplainExecution: ({ admin }, executionId) => admin.explainExecution({ executionId }),
  ListAttempts: ({ admin }, executionId) => admin.listAttempts({ executionId }),
  ListEdges: ({ admin }, executionId) => admin.listEdges({ executionId }),
  ChangeExecution: ({ admin }, executionId) => admin.changeExecution({ executionId, priority: 3 }),
  RevokeLease: ({ admin }, executionId) => admin.revokeLease({ executionId }),
  ResumeExecution: ({ admin }, executionId) => admin.resumeExecution({ executionId, actor: 'me', note: 'go on' }),
  CancelExecution: ({ engine }, executionId) => engine.cancelExecution({ executionId }),
  ClaimExecution: ({ engine }, executionId) => engine.claimExecution({ executionId, worker: hand.worker }),
  SignalExecution: ({ engine }, executionId) =>
    engine.signalExecution({ target: { case: 'execution', value: { executionId } }, name: 'go' }),
  AwaitExecutions: ({ completion }, id) => completion.awaitExecutions({ executionIds: [open.alone, id] }),
  ReadFrames: ({ completion }, executionId) => completion.readFrames({ executionId }),
  GetFrameSummary: ({ completion }, executionId) => completion.getFrameSummary({ executionId }),
  TailFrames: ({ completion }, executionId) => completion.tailFrames({ executionId })[Symbol.asyncIterator]().next(),
};

const FLOW: Readonly<Record<string, Call>> = {
  GetFlow: ({ admin }, flowId) => admin.getFlow({ flowId }),
  ListFlowMembers: ({ admin }, flowId) => admin.listFlowMembers({ flowId }),
  ListEdges: ({ admin }, flowId) => admin.listEdges({ flowId }),
  GetFlowTree: ({ admin }, flowId) => admin.getFlowTree({ flowId }),
  CancelFlow: ({ engine }, flowId) => engine.cancelFlow({ flowId }),
  SealFlow: ({ engine }, flowId) => engine.sealFlow({ flowId }),
  ExtendFlow: ({ engine }, flowId) =>
    engine.extendFlow({ flowId, members: [{ localName: 'late', execution: { type: 'late' } }] }),
  AwaitFlow: ({ completion }, flowId) => completion.awaitFlow({ flowId }),
  WatchFlow: ({ completion }, flowId) => completion.watchFlow({ flowId })[Symbol.asyncIterator]().next(),
};

const keep = async (retention: object) => {
  const { namespace } = await tailrace.admin.putNamespace({ namespace: 'default', settings: { retention } });
  return namespace;
};
const serverMs = async () => {
  const { serverTime } = await tailrace.admin.getServerInfo({});
  return serverTime === undefined ? 0 : timestampMs(serverTime);
};

/** Everything that has ended by now lies behind the floor afterwards. */
async function passFloor(): Promise<void> {
  const now = await serverMs();
  const least = seconds(1);
  await keep({ executions: least, log: least, closedDeadLetters: least });
  await eventually(async () => (await serverMs()) > now + 1_200);
  const { floorTime } = await tailrace.admin.runRetention({ namespace: 'default' });
  if (floorTime === undefined || timestampMs(floorTime) < now) throw new Error('the floor did not move');
}

beforeAll(async () => {
  tailrace = await startTailrace({ environment: { TAILRACE_LEAST_RETENTION: '1s' } });
  hand = new FlowsByHand(tailrace);
  const frames = new FramesByHand(tailrace);
  ended.alone = await hand.createOne({ lane: 'past', type: 'past', tags, requestId: REQUEST });
  const claim = await hand.claimNamed(ended.alone);
  await frames.append(claim, [frame('said')]);
  await hand.complete(claim);
  open.alone = await hand.createOne({ lane: 'past', type: 'past', tags, delay: seconds(3_600) });
  const giveUp = async () => {
    const id = await hand.createOne({ lane: 'past', type: 'past', tags });
    const { deadLetterId } = await hand.fail(await hand.claimNamed(id), FailureClass.PERMANENT);
    return { id, deadLetterId };
  };
  const [left, closed] = [await giveUp(), await giveUp()];
  ended.failed = left.id;
  letters.open = left.deadLetterId;
  letters.closed = closed.deadLetterId;
  await tailrace.deadLetters.resolveDeadLetters({
    deadLetters: [{ deadLetterId: letters.closed }],
    resolution: DeadLetterResolution.IGNORED,
    actor: 'somebody',
    note: 'done',
  });
  endedFlow = await hand.flow({ members: { one: { tags }, two: {} }, links: [['one', 'two']] }, { name: 'past', tags });
  await endedFlow.complete('one');
  await endedFlow.complete('two');
  await endedFlow.ended();
  ended.member = endedFlow.of('one');
  failedFlow = await hand.flow({ members: { bad: {} } }, { name: 'past' });
  await hand.fail(await hand.claimNamed(failedFlow.of('bad')), FailureClass.PERMANENT);
  await failedFlow.ended();
  openFlow = await hand.flow({ members: { first: {}, second: { delay: seconds(3_600) } } }, { name: 'open' });
  await openFlow.complete('first');
  ended.first = openFlow.of('first');
  open.second = openFlow.of('second');
  const { results } = await tailrace.engine.publishEvents({
    events: [
      { eventId: events.named, type: TYPE, stream: 'story', tags },
      { type: TYPE, stream: 'story', tags },
    ],
  });
  const [first, second] = results.map(({ result }) => (result.case === 'ok' ? result.value : undefined));
  events.unnamed = second?.eventId ?? '';
  events.cause = first?.flowId ?? '';
  const { executions } = await tailrace.admin.listExecutions({ filter: { tags } });
  expect(executions).toHaveLength(5);
  await passFloor();
});
afterAll(() => tailrace.stop());

describe('what ended behind the floor', () => {
  it.each(Object.entries(EXECUTION))('is no execution to %s', async (_, call) => {
    for (const id of Object.values(ended)) {
      expect((await refusal(call(tailrace, id))).reason, id).toBe('EXECUTION_NOT_FOUND');
    }
  });

  it.each([
    ['any', {}],
    ['SUCCEEDED', { states: [ExecutionState.SUCCEEDED] }],
    ['FAILED', { states: [ExecutionState.FAILED] }],
    ['all states', { states: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11] }],
    ['a lane', { lanes: ['past'] }],
    ['a type', { types: ['past'] }],
    ['tags', { tags }],
  ])('is in no list of executions of %s', async (_, filter) => {
    const { executions } = await tailrace.admin.listExecutions({ filter, pageSize: 1_000 });
    const ids = executions.map(({ executionId }) => executionId);
    expect(ids.filter((id) => Object.values(ended).includes(id))).toEqual([]);
    const present = 'states' in filter && filter.states.length === 1 ? [] : [open.alone];
    expect(ids).toEqual(expect.arrayContaining(present));
  });

  it('is in no list of members, of attempts, and of executions of a flow', async () => {
    const { admin } = tailrace;
    const ofOpen = { flowId: openFlow.id };
    expect((await admin.listFlowMembers(ofOpen)).members.map(({ executionId }) => executionId)).toEqual([open.second]);
    const { executions } = await admin.listExecutions({ filter: ofOpen });
    expect(executions.map(({ executionId }) => executionId)).toEqual([open.second]);
    for (const asked of [ofOpen, { lane: 'past' }, { type: 'past' }]) {
      expect((await admin.listAttempts(asked)).attempts, JSON.stringify(asked)).toEqual([]);
    }
    const { nodes } = await admin.getFlowTree(ofOpen);
    expect(nodes.map(({ node }) => (node.case === 'execution' ? node.value.executionId : node.case))).toEqual([
      open.second,
    ]);
    expect((await admin.getFlow(ofOpen)).flow?.state).toBe(FlowState.ACTIVE);
  });

  it.each(Object.entries(FLOW))('is no flow to %s', async (_, call) => {
    for (const { id } of [endedFlow, failedFlow]) {
      expect((await refusal(call(tailrace, id))).reason).toBe('FLOW_NOT_FOUND');
    }
  });

  it('is in no list of flows and joins', async () => {
    const { admin } = tailrace;
    for (const filter of [{}, { name: 'past' }, { tags }, { states: [FlowState.SUCCEEDED, FlowState.FAILED] }]) {
      const ids = (await admin.listFlows({ ...filter, pageSize: 1_000 })).flows.map(({ flowId }) => flowId);
      expect(
        ids.filter((id) => [endedFlow.id, failedFlow.id].includes(id)),
        JSON.stringify(filter),
      ).toEqual([]);
    }
    expect((await admin.listFailedFlows({})).flows).toEqual([]);
    expect((await admin.listJoins({ flowId: endedFlow.id })).joins).toEqual([]);
    expect((await admin.listJoins({ executionId: endedFlow.of('two') })).joins).toEqual([]);
  });

  it('is there all the same: only the floor hides it', async () => {
    const client = new pg.Client({ connectionString: tailrace.database.url });
    await client.connect();
    const { rows } = await client.query<{ n: number }>(
      `select count(*)::int as n from ${tailrace.database.schema}.outcome where execution = any ($1::uuid[])`,
      [Object.values(ended)],
    );
    await client.end();
    expect(rows[0]?.n).toBe(Object.values(ended).length);
  });

  it('still answers a repeat by its request id', async () => {
    const { results } = await tailrace.engine.createExecutions({
      executions: [{ lane: 'past', type: 'past', tags, requestId: REQUEST }],
    });
    expect(results[0]?.result).toMatchObject({ case: 'ok', value: { duplicate: true, executionId: ended.alone } });
  });
});

describe('dead letters', () => {
  it('stay while they are open, and go once they are closed for as long as they are kept', async () => {
    const { deadLetters } = tailrace;
    expect((await deadLetters.getDeadLetter({ deadLetterId: letters.open })).deadLetter?.state).toBe(
      DeadLetterState.OPEN,
    );
    const closed = { deadLetterId: letters.closed };
    expect((await refusal(deadLetters.getDeadLetter(closed))).reason).toBe('DEAD_LETTER_NOT_FOUND');
    expect((await refusal(deadLetters.reopenDeadLetter(closed))).reason).toBe('DEAD_LETTER_NOT_FOUND');
    const redrive = { ...closed, actor: 'somebody', note: 'again' };
    expect((await refusal(deadLetters.redriveDeadLetter(redrive))).reason).toBe('DEAD_LETTER_NOT_FOUND');
    const states = [DeadLetterState.CLOSED];
    for (const filter of [{ states }, { states, lanes: ['past'] }, { states, tags }]) {
      expect((await deadLetters.listDeadLetters({ filter })).deadLetters).toEqual([]);
      expect((await deadLetters.countDeadLetters({ filter })).count).toBe(0n);
      expect((await deadLetters.listDeadLetterGroups({ filter })).groups).toEqual([]);
    }
    expect((await deadLetters.countDeadLetters({})).count).toBe(2n);
  });
});

describe('events behind the floor', () => {
  const told = async () => {
    const { results } = await tailrace.engine.publishEvents({ events: [{ type: TYPE, stream: 'story', tags }] });
    const result = results[0]?.result;
    return result?.case === 'ok' ? result.value.eventId : '';
  };

  it('are in no list, no stream and no answer; what comes later is', async () => {
    const { admin, engine } = tailrace;
    const story = { stream: 'story' };
    expect(await refusal(engine.readStream(story))).toMatchObject({
      reason: 'CURSOR_PRUNED',
      metadata: { earliest_version: '3' },
    });
    expect((await engine.readStream({ ...story, fromVersion: 3n })).events).toEqual([]);
    expect((await engine.readStream({ ...story, backward: true })).events).toEqual([]);
    // The floor never falls back.
    const put = await keep({ executions: MONTH, log: MONTH, closedDeadLetters: MONTH });
    expect(put?.floorTime).toBeDefined();
    const later = await told();
    expect((await engine.readStream(story).catch(() => undefined))?.events).toBeUndefined();
    for (const asked of [
      { ...story, fromVersion: 3n },
      { ...story, backward: true },
    ]) {
      const page = await engine.readStream(asked);
      expect(page.events.map(({ eventId }) => eventId)).toEqual([later]);
      expect(page.streamVersion).toBe(3n);
    }
    for (const filter of [{}, { types: [TYPE] }, story, { tags }, { flowId: events.cause }]) {
      const listed = (await admin.listEvents({ ...filter, pageSize: 1_000 })).events.map(({ eventId }) => eventId);
      expect(listed, JSON.stringify(filter)).toEqual('flowId' in filter ? [] : [later]);
    }
    const named = await engine.getEvent({ eventId: events.named });
    expect([named.accepted, named.event]).toEqual([true, undefined]);
    expect((await engine.getEvent({ eventId: events.unnamed })).accepted).toBe(false);
    expect((await engine.getEvent({ eventId: later })).event?.eventId).toBe(later);
    const again = await engine.publishEvents({
      events: [{ eventId: events.named, type: TYPE, stream: 'story', tags }],
    });
    expect(again.results[0]?.result).toMatchObject({ case: 'ok', value: { duplicate: true } });
  });

  it('leave what ends later in sight', async () => {
    const id = await hand.createOne({ type: 'present', input: text('here') });
    await hand.complete(await hand.claimNamed(id));
    expect((await tailrace.admin.getExecution({ executionId: id })).execution?.state).toBe(ExecutionState.SUCCEEDED);
    const canceled = await hand.cancel(id);
    expect(canceled.outcome?.state).toBe(ExecutionState.SUCCEEDED);
  });
});
