/** Watching and awaiting a flow, step by step: what is shown first, what follows, what comes last, and never too early. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  CompletionService,
  FlowMilestone,
  type WatchFlowResponse,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { type LogEntry, LogEntryKind, type LogFilterSchema, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { FrameHub } from '../../../src/frames/hub.js';
import { DatabaseFrameSource } from '../../../src/frames/source.js';
import { Readiness } from '../../../src/runtime/readiness.js';
import { type RunningServer, startServer } from '../../../src/server.js';
import { completionService } from '../../../src/services/completion/index.js';
import { eventually } from '../../support/eventually.js';
import { LogEngine, NAMESPACE, uuidV7 } from '../../support/log-engine.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';
import { EXECUTION_SUCCEEDED, FLOW_REOPENED, ScriptedFlow } from '../../support/scripted-flow.js';

const { ACTIVE, IDLE, SUCCEEDED, FAILED } = FlowState;

let database: TestDatabase;
let engine: LogEngine;
let server: RunningServer;
let client: Client<typeof CompletionService>;
let flow: ScriptedFlow;

beforeAll(async () => {
  database = await freshDatabase();
  engine = new LogEngine(database, { heartbeatMs: 200, graceMs: 200, maxWatchers: 3 });
  const namespaceId = async (name: string) => (name === 'elsewhere' ? NAMESPACE + 1 : NAMESPACE);
  const frameSource = new DatabaseFrameSource(engine.database);
  const frames = new FrameHub(frameSource);
  const { live, database: db, hints } = engine;
  const dependencies = { live, database: db, frames, frameSource, namespaceId, ...hints };
  server = await startServer({
    host: '127.0.0.1',
    port: 0,
    readiness: new Readiness(),
    logger: pino({ level: 'silent' }),
    version: 'test',
    routes: (router) => router.service(CompletionService, completionService(dependencies)),
  });
  client = createClient(CompletionService, createGrpcTransport({ baseUrl: server.address.url }));
});

afterAll(async () => {
  await server.drain(0);
  await engine.stop();
  await database.drop();
});

const open: Seen[] = [];
afterEach(async () => {
  for (const watch of open.splice(0)) watch.hangUp();
  await eventually(() => engine.live.watching === 0);
});

beforeEach(async () => {
  flow = await make();
  await engine.settled();
});

const make = (name?: string, tags?: object) => ScriptedFlow.make(engine.database, () => engine.nudge(), name, tags);

/** What a watch said so far. */
class Seen {
  readonly messages: WatchFlowResponse[] = [];
  readonly #stop = new AbortController();
  readonly #stream: AsyncIterator<WatchFlowResponse>;

  constructor(cursor = '', flowId = flow.id) {
    const options = { signal: this.#stop.signal };
    this.#stream = client.watchFlow({ flowId, cursor }, options)[Symbol.asyncIterator]();
    open.push(this);
  }

  /** Heartbeats without a state are passed over. */
  async next(): Promise<WatchFlowResponse | undefined> {
    for (;;) {
      const { value, done } = await this.#stream.next();
      if (done) return undefined;
      if (!value.flow && value.entries.length === 0) continue;
      this.messages.push(value);
      return value;
    }
  }

  async heartbeat(): Promise<WatchFlowResponse> {
    const { value } = await this.#stream.next();
    return value;
  }

  async toEnd(): Promise<this> {
    while (await this.next());
    return this;
  }

  /** States by name, entries by kind and execution. */
  get told(): string[] {
    return this.messages.flatMap(({ flow: shown, entries }) => [
      ...(shown ? [FlowState[shown.state]] : []),
      ...entries.map(({ kind, executionId }) => `${LogEntryKind[kind]}${executionId ? ` ${executionId}` : ''}`),
    ]);
  }

  hangUp(): void {
    this.#stop.abort();
  }
}

const member = (execution: string) => ({ kind: EXECUTION_SUCCEEDED, to: 7, execution });
const ended = (id: string) => `EXECUTION_SUCCEEDED ${id}`;

/** The first entries that a filter selects. */
async function logOf(filter: MessageInitShape<typeof LogFilterSchema>, count: number): Promise<LogEntry[]> {
  const seen: LogEntry[] = [];
  const stop = new AbortController();
  const watch = client.watchLog({ filter, start: StartPosition.EARLIEST }, { signal: stop.signal });
  for await (const { entries } of watch) if (seen.push(...entries) >= count) break;
  stop.abort();
  return seen;
}

async function refusal(work: Promise<unknown>) {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => ConnectError.from(thrown),
  );
  return error?.findDetails(ErrorDetailSchema)[0];
}

describe('WatchFlow', () => {
  test('shows the state, tells what follows, and ends with the final state', async () => {
    const [a, b] = [uuidV7(), uuidV7()];
    const watch = new Seen();
    expect(await watch.next()).toMatchObject({
      flow: { flowId: flow.id, namespace: 'default', state: ACTIVE, name: 'scripted', settled: false },
      entries: [],
    });
    expect(watch.messages[0]?.heartbeat).toMatchObject({ cursor: expect.stringMatching(/./) });
    await flow.say(member(a));
    expect((await watch.next())?.entries).toMatchObject([{ executionId: a, flowId: flow.id }]);
    await flow.say(member(b));
    await flow.become(SUCCEEDED);
    await watch.toEnd();
    expect(watch.told).toEqual(['ACTIVE', ended(a), ended(b), 'FLOW_SETTLED', 'SUCCEEDED']);
    const last = watch.messages.at(-1);
    expect(last).toMatchObject({ entries: [], flow: { settled: true, sealed: true } });
    expect(last?.heartbeat?.cursor).toBe(watch.messages.at(-2)?.entries.at(-1)?.cursor);
  });

  test('stays open while the flow only rests, and tells its cursor meanwhile', async () => {
    const watch = new Seen();
    const first = await watch.next();
    const [beat, another] = [await watch.heartbeat(), await watch.heartbeat()];
    expect(beat).toMatchObject({ entries: [], heartbeat: { cursor: first?.heartbeat?.cursor } });
    expect(another.flow).toBeUndefined();
    await flow.become(IDLE);
    expect((await watch.next())?.entries).toMatchObject([{ kind: LogEntryKind.FLOW_SETTLED }]);
    await flow.become(FAILED);
    await watch.toEnd();
    expect(watch.told).toEqual(['ACTIVE', 'FLOW_SETTLED', 'FLOW_SETTLED', 'FAILED']);
  });

  test('of a flow that has ended is one state', async () => {
    await flow.become(SUCCEEDED);
    await engine.settled();
    expect((await new Seen().toEnd()).told).toEqual(['SUCCEEDED']);
  });

  test('goes on from a cursor: the state first, what was missed, and the final state', async () => {
    const begun = new Seen();
    const cursor = (await begun.next())?.heartbeat?.cursor;
    begun.hangUp();
    const [a, b] = [uuidV7(), uuidV7()];
    await flow.say(member(a));
    await flow.say(member(b));
    await flow.become(SUCCEEDED);
    await engine.settled();
    const again = await new Seen(cursor).toEnd();
    expect(again.told).toEqual(['SUCCEEDED', ended(a), ended(b), 'FLOW_SETTLED', 'SUCCEEDED']);
    expect(again.messages[0]?.heartbeat?.cursor).toBe(cursor);
    const behindA = again.messages.flatMap(({ entries }) => entries)[0]?.cursor;
    expect((await new Seen(behindA).toEnd()).told).toEqual(['SUCCEEDED', ended(b), 'FLOW_SETTLED', 'SUCCEEDED']);
    const atEnd = again.messages.at(-1)?.heartbeat?.cursor;
    expect((await new Seen(atEnd).toEnd()).told).toEqual(['SUCCEEDED']);
  });

  test('with a cursor does not end before the last entry has its position', async () => {
    const begun = new Seen();
    const cursor = (await begun.next())?.heartbeat?.cursor;
    begun.hangUp();
    await flow.become(SUCCEEDED, { numbered: false });
    const watch = new Seen(cursor);
    await watch.next();
    engine.nudge();
    expect((await watch.toEnd()).told).toEqual(['SUCCEEDED', 'FLOW_SETTLED', 'SUCCEEDED']);
  });

  test('a flow that was reopened is followed on', async () => {
    const begun = new Seen();
    const cursor = (await begun.next())?.heartbeat?.cursor;
    begun.hangUp();
    await flow.become(FAILED);
    await flow.become(ACTIVE, { kind: FLOW_REOPENED });
    await engine.settled();
    const watch = new Seen(cursor);
    expect((await watch.next())?.flow?.state).toBe(ACTIVE);
    expect((await watch.next())?.entries.map(({ kind }) => kind)).toEqual([
      LogEntryKind.FLOW_SETTLED,
      LogEntryKind.FLOW_REOPENED,
    ]);
    await flow.become(SUCCEEDED);
    expect((await watch.toEnd()).told.slice(-2)).toEqual(['FLOW_SETTLED', 'SUCCEEDED']);
  });

  test('tells nothing of others', async () => {
    const watch = new Seen();
    await watch.next();
    const other = await make('other');
    await other.become(SUCCEEDED);
    await engine.create(1);
    await flow.become(SUCCEEDED);
    expect((await watch.toEnd()).told).toEqual(['ACTIVE', 'FLOW_SETTLED', 'SUCCEEDED']);
  });

  test('is refused for what is not there, a foreign cursor, and one watch too many', async () => {
    const first = (request: object) =>
      client
        .watchFlow({ flowId: flow.id, ...request })
        [Symbol.asyncIterator]()
        .next();
    const flowId = uuidV7();
    expect(await refusal(first({ flowId }))).toMatchObject({ reason: 'FLOW_NOT_FOUND', metadata: { flow_id: flowId } });
    expect(await refusal(first({ namespace: 'elsewhere' }))).toMatchObject({ reason: 'FLOW_NOT_FOUND' });
    expect(await refusal(first({ cursor: 'nonsense' }))).toMatchObject({ reason: 'BAD_CURSOR' });
    expect(await refusal(first({ flowId: 'flow' }))).toMatchObject({ reason: 'INVALID_FIELD' });
    for (const watch of [new Seen(), new Seen(), new Seen()]) await watch.next();
    expect(await refusal(first({}))).toMatchObject({ reason: 'TOO_MANY_STREAMS', metadata: { limit: '3' } });
  });
});

describe('AwaitFlow', () => {
  const wait = (until: FlowMilestone, seconds: number, flowId = flow.id) =>
    client.awaitFlow({ flowId, until, timeout: { seconds: BigInt(seconds), nanos: 0 } });

  test('answers what is known at once when it does not wait', async () => {
    expect(await wait(FlowMilestone.UNSPECIFIED, 0)).toMatchObject({ done: false, flow: { state: ACTIVE } });
    await flow.become(IDLE);
    expect(await wait(FlowMilestone.UNSPECIFIED, 0)).toMatchObject({ done: false, flow: { state: IDLE } });
    expect(await wait(FlowMilestone.SETTLED, 0)).toMatchObject({ done: true, flow: { settled: true } });
    expect(await refusal(wait(FlowMilestone.SETTLED, 0, uuidV7()))).toMatchObject({ reason: 'FLOW_NOT_FOUND' });
    expect(await refusal(wait(FlowMilestone.SETTLED, 61))).toMatchObject({ reason: 'INVALID_FIELD' });
  });

  test('proof 5: answers when the flow settles, and when it ends, not before', async () => {
    const answered: string[] = [];
    const note = (name: string) => (answer: { done: boolean }) => answered.push(`${name} ${answer.done}`);
    const settled = wait(FlowMilestone.SETTLED, 60).then(note('settled'));
    const end = wait(FlowMilestone.ENDED, 60).then(note('ended'));
    const watch = new Seen();
    await watch.next();
    await flow.say(member(uuidV7()), member(uuidV7()));
    await watch.next();
    expect(answered).toEqual([]);
    await flow.become(IDLE);
    await settled;
    expect(answered).toEqual(['settled true']);
    await flow.become(SUCCEEDED);
    await end;
    expect(answered).toEqual(['settled true', 'ended true']);
    watch.hangUp();
  });

  test('fifty wait for one flow, and each is answered', async () => {
    const waits = Array.from({ length: 50 }, () => wait(FlowMilestone.ENDED, 60));
    // All of them stand at the tail once a last one has been answered.
    await wait(FlowMilestone.ENDED, 0);
    await flow.become(SUCCEEDED);
    expect((await Promise.all(waits)).map(({ done }) => done)).toEqual(waits.map(() => true));
  });
});

test('the log tells of flows and joins by name, tags and subject', async () => {
  const tagged = await make('nightly', { team: 'a' });
  const join = uuidV7();
  const execution = uuidV7();
  await tagged.say({
    kind: LogEntryKind.JOIN_SATISFIED,
    execution,
    body: { join, slots: 2, ok: 2, failed: 0, skipped: 0 },
  });
  await tagged.say({ kind: LogEntryKind.FLOW_CANCELED, body: { scope: 1, reason: 'no longer needed' } });
  const seen = await logOf({ flowId: tagged.id }, 3);
  expect(seen).toMatchObject([
    {
      kind: LogEntryKind.FLOW_CREATED,
      flowId: tagged.id,
      executionId: '',
      tags: { team: 'a' },
      body: { case: 'details', value: { name: 'nightly', members: 1 } },
    },
    { kind: LogEntryKind.JOIN_SATISFIED, executionId: execution, subject: join, body: { value: { slots: 2, ok: 2 } } },
    { kind: LogEntryKind.FLOW_CANCELED, reason: 'no longer needed', body: { value: { name: 'nightly', scope: 1 } } },
  ]);
  const ofTeam = await logOf({ tags: { team: 'a' } }, 2);
  expect(ofTeam.map(({ kind }) => kind)).toEqual([LogEntryKind.FLOW_CREATED, LogEntryKind.FLOW_CANCELED]);
});
