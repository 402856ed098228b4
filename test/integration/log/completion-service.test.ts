/** CompletionService through the port: what clients see of watches and waits, and what bad input gets. */
import { create } from '@bufbuild/protobuf';
import { type Client, ConnectError, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  AwaitMode,
  CompletionService,
  WatchCompletionsRequestSchema,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { FrameHub } from '../../../src/frames/hub.js';
import { DatabaseFrameSource } from '../../../src/frames/source.js';
import { cancelExecution } from '../../../src/repository/executions/index.js';
import { Readiness } from '../../../src/runtime/readiness.js';
import { type RunningServer, startServer } from '../../../src/server.js';
import { completionService } from '../../../src/services/completion/index.js';
import { LogEngine, NAMESPACE, uuidV7 } from '../../support/log-engine.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';

let database: TestDatabase;
let engine: LogEngine;
let server: RunningServer;
let client: Client<typeof CompletionService>;

beforeAll(async () => {
  database = await freshDatabase();
  engine = new LogEngine(database, { heartbeatMs: 100, graceMs: 200 });
  const namespaceId = async () => NAMESPACE;
  const frameSource = new DatabaseFrameSource(engine.database);
  const frames = new FrameHub(frameSource);
  server = await startServer({
    host: '127.0.0.1',
    port: 0,
    readiness: new Readiness(),
    logger: pino({ level: 'silent' }),
    version: 'test',
    routes: (router) =>
      router.service(
        CompletionService,
        completionService({
          live: engine.live,
          database: engine.database,
          frames,
          frameSource,
          namespaceId,
          ...engine.hints,
        }),
      ),
  });
  client = createClient(CompletionService, createGrpcTransport({ baseUrl: server.address.url }));
});

afterAll(async () => {
  await server.drain(0);
  await engine.stop();
  await database.drop();
});

interface Stream<T> {
  next(): Promise<T>;
  hangUp(): void;
}

function stream<T>(call: (options: { signal: AbortSignal }) => AsyncIterable<T>): Stream<T> {
  const stop = new AbortController();
  const messages = call({ signal: stop.signal })[Symbol.asyncIterator]();
  return {
    next: async () => {
      const { value, done } = await messages.next();
      if (done) throw new Error('the stream has ended');
      return value;
    },
    hangUp: () => stop.abort(),
  };
}

/** The entries of the next message that has some. */
async function entries<T>(messages: Stream<{ entries: T[] }>): Promise<T[]> {
  for (;;) {
    const message = await messages.next();
    if (message.entries.length > 0) return message.entries;
  }
}

async function refusal(work: Promise<unknown>) {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => ConnectError.from(thrown),
  );
  return error?.findDetails(ErrorDetailSchema)[0];
}

const first = <T>(messages: AsyncIterable<T>) => messages[Symbol.asyncIterator]().next();

describe('WatchCompletions', () => {
  test('begins with a heartbeat, then tells each end, and goes on from any cursor', async () => {
    const watch = stream((options) => client.watchCompletions({}, options));
    const begin = await watch.next();
    expect(begin.entries).toEqual([]);
    expect(begin.heartbeat?.serverTime).toBeDefined();
    const [id] = await engine.run(1, { lane: 'mail', type: 'send', tags: { customer: '7' } });
    const [entry] = await entries(watch);
    expect(entry).toMatchObject({
      namespace: 'default',
      executionId: id,
      lane: 'mail',
      type: 'send',
      tags: { customer: '7' },
      outcome: {
        state: ExecutionState.SUCCEEDED,
        attemptNumber: 1,
        result: { contentType: 'text/plain', body: { case: 'text', value: 'done' } },
      },
    });
    expect(entry?.startTime).toBeDefined();
    watch.hangUp();
    const again = stream((options) =>
      client.watchCompletions({ cursor: begin.heartbeat?.cursor ?? '', omitResults: true }, options),
    );
    const [repeated] = await entries(again);
    expect(repeated).toMatchObject({ cursor: entry?.cursor, outcome: { resultOmitted: true } });
    expect(repeated?.outcome?.result).toBeUndefined();
    again.hangUp();
  });

  test('tells a cancellation with its text', async () => {
    const watch = stream((options) =>
      client.watchCompletions({ filter: { outcomes: [ExecutionState.CANCELED] } }, options),
    );
    await watch.next();
    const [execution = ''] = await engine.create(1, { type: 'unwanted' });
    await cancelExecution(engine.database, {
      namespace: NAMESPACE,
      execution,
      now: true,
      graceMs: 0,
      acceptsLate: false,
      actor: '',
      reason: 'nobody wants it',
      lease: null,
    });
    engine.nudge();
    const [entry] = await entries(watch);
    expect(entry).toMatchObject({
      executionId: execution,
      outcome: { reason: EndReason.CANCEL_REQUESTED, cancelReason: 'nobody wants it', attemptNumber: 0 },
    });
    expect(entry?.startTime).toBeUndefined();
    watch.hangUp();
  });

  test('tells its cursor while nothing happens', async () => {
    const watch = stream((options) => client.watchCompletions({}, options));
    const begin = await watch.next();
    expect((await watch.next()).heartbeat?.cursor).toBe(begin.heartbeat?.cursor);
    watch.hangUp();
  });
});

test('WatchLog tells every step of an execution', async () => {
  const watch = stream((options) => client.watchLog({ filter: { types: ['told'] } }, options));
  await watch.next();
  const [id] = await engine.run(1, { type: 'told', tags: { k: 'v' } });
  const seen = [];
  while (seen.length < 4) seen.push(...(await entries(watch)));
  watch.hangUp();
  expect(seen.map(({ kind, fromState, toState, attemptNumber }) => [kind, fromState, toState, attemptNumber])).toEqual([
    [LogEntryKind.EXECUTION_CREATED, 0, ExecutionState.QUEUED, 0],
    [LogEntryKind.ATTEMPT_STARTED, ExecutionState.QUEUED, ExecutionState.RUNNING, 1],
    [LogEntryKind.ATTEMPT_ENDED, 0, 0, 1],
    [LogEntryKind.EXECUTION_SUCCEEDED, ExecutionState.RUNNING, ExecutionState.SUCCEEDED, 1],
  ]);
  for (const entry of seen)
    expect(entry).toMatchObject({ executionId: id, lane: 'default', type: 'told', tags: { k: 'v' } });
  expect(seen[1]).toMatchObject({ actor: 'tester', body: { case: 'attempt', value: { worker: { name: 'tester' } } } });
  expect(seen[2]?.body).toMatchObject({ case: 'attempt', value: { outcome: 1 } });
  expect(seen[3]?.body).toMatchObject({ case: 'outcome', value: { state: ExecutionState.SUCCEEDED } });
});

test('AwaitExecutions answers in the order of the request, and says whether it is done', async () => {
  const [ended = ''] = await engine.run(1, { type: 'ended' });
  const [waiting = ''] = await engine.create(1, { type: 'waiting' });
  const executionIds = [waiting, ended];
  const all = await client.awaitExecutions({ executionIds });
  expect(all.done).toBe(false);
  expect(all.executions.map(({ executionId, state, type }) => [executionId, state, type])).toEqual([
    [waiting, ExecutionState.QUEUED, 'waiting'],
    [ended, ExecutionState.SUCCEEDED, 'ended'],
  ]);
  const any = await client.awaitExecutions({ executionIds, mode: AwaitMode.ANY, timeout: { seconds: 60n, nanos: 0 } });
  expect(any.done).toBe(true);
  expect(any.executions[1]?.outcome?.result?.body).toEqual({ case: 'text', value: 'done' });
  const timeout = { seconds: 0n, nanos: 20_000_000 };
  expect((await client.awaitExecutions({ executionIds, timeout })).done).toBe(false);
  const stranger = uuidV7();
  expect(await refusal(client.awaitExecutions({ executionIds: [ended, stranger], timeout }))).toMatchObject({
    reason: 'EXECUTION_NOT_FOUND',
    metadata: { execution_id: stranger },
  });
});

test('bad input is refused with every violation', async () => {
  const violations = async (work: Promise<unknown>) => {
    const detail = await refusal(work);
    expect(detail?.reason).toBe('INVALID_FIELD');
    return detail?.fieldViolations.map(({ field }) => field);
  };
  const watch = create(WatchCompletionsRequestSchema, {
    namespace: 'n'.repeat(201),
    filter: {
      flowId: 'x',
      lanes: ['', 'a\0b'],
      types: ['t'.repeat(201)],
      outcomes: [99 as ExecutionState, ExecutionState.RUNNING],
    },
    start: 7 as StartPosition,
  });
  expect(await violations(first(client.watchCompletions(watch)))).toEqual([
    'namespace',
    'filter.flow_id',
    'filter.lanes[0]',
    'filter.lanes[1]',
    'filter.types[0]',
    'filter.outcomes[0]',
    'filter.outcomes[1]',
    'start',
  ]);
  const both = client.watchLog({ start: StartPosition.LATEST, cursor: 'x' });
  expect(await violations(first(both))).toEqual(['start']);
  const id = uuidV7();
  const wait = { executionIds: [id, 'x', id], mode: 9, timeout: { seconds: 61n, nanos: 0 } };
  expect(await violations(client.awaitExecutions(wait))).toEqual(['execution_ids[1]', 'mode', 'timeout']);
  expect(await violations(client.awaitExecutions({ executionIds: [id, id.toUpperCase()] }))).toEqual([
    'execution_ids[1]',
  ]);
  expect(await violations(client.awaitExecutions({}))).toEqual(['execution_ids']);
});

test('a foreign cursor is refused', async () => {
  expect(await refusal(first(client.watchCompletions({ cursor: 'AAAA' })))).toMatchObject({ reason: 'BAD_CURSOR' });
});

test('a client that does not read is cut, and can go on where it was', async () => {
  const watch = stream((options) => client.watchLog({ filter: { types: ['flood'] } }, options));
  const begin = await watch.next();
  const rounds = 12;
  for (let i = 0; i < rounds; i++) await engine.create(1_000, { type: 'flood', tags: { pad: 'x'.repeat(250) } });
  await engine.settled();
  const { cursor, count } = await readUntilCut(watch);
  expect(count).toBeLessThan(rounds * 1_000);
  const rest = stream((options) => client.watchLog({ filter: { types: ['flood'] }, cursor }, options));
  let more = 0;
  while (count + more < rounds * 1_000) more += (await entries(rest)).length;
  expect(count + more).toBe(rounds * 1_000);
  expect(begin.heartbeat?.cursor).not.toBe(cursor);
  rest.hangUp();
});

/** Waits until the server has given the watch up, then reads what was under way and the error. */
async function readUntilCut(watch: Stream<{ entries: unknown[] }>): Promise<{ cursor: string; count: number }> {
  await expect.poll(() => engine.live.cut, { timeout: 10_000 }).toBe(1);
  let count = 0;
  try {
    for (;;) count += (await watch.next()).entries.length;
  } catch (error) {
    const detail = ConnectError.from(error).findDetails(ErrorDetailSchema)[0];
    expect(detail?.reason).toBe('STREAM_TOO_SLOW');
    return { cursor: detail?.metadata['cursor'] ?? '', count };
  }
}
