/** Every protocol, codec and version of HTTP says the same things to the clients that people use. */
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { credentials, type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../gen/tailrace/v1/error_pb.js';
import { connectErrorOf, GrpcJs } from '../support/grpc-js.js';
import { TinyServer } from '../support/tiny-server.js';

let server: TinyServer;
beforeAll(async () => {
  server = await TinyServer.start();
});
afterAll(() => server.drain());

async function thrown(work: Promise<unknown>): Promise<ConnectError> {
  try {
    await work;
  } catch (error) {
    return ConnectError.from(error);
  }
  throw new Error('nothing was thrown');
}

function reasonOf(error: ConnectError): string | undefined {
  return error.findDetails(ErrorDetailSchema)[0]?.reason;
}

async function cursorsOf(stream: AsyncIterable<{ heartbeat?: { cursor: string } | undefined }>, into: string[] = []) {
  for await (const { heartbeat } of stream) into.push(heartbeat?.cursor ?? '');
  return into;
}

type Options = { baseUrl: string; useBinaryFormat?: boolean };
const transports: [string, (options: Options) => Transport][] = [
  ['Connect, HTTP/1.1', (options) => createConnectTransport({ ...options, httpVersion: '1.1' })],
  ['Connect, HTTP/2', (options) => createConnectTransport({ ...options, httpVersion: '2' })],
  ['gRPC, HTTP/2', (options) => createGrpcTransport(options)],
  ['gRPC-Web, HTTP/1.1', (options) => createGrpcWebTransport({ ...options, httpVersion: '1.1' })],
  ['gRPC-Web, HTTP/2', (options) => createGrpcWebTransport({ ...options, httpVersion: '2' })],
];
const matrix = transports.flatMap(([name, make]) =>
  [true, false].map(
    (useBinaryFormat) => [`${name}, ${useBinaryFormat ? 'binary' : 'JSON'}`, make, useBinaryFormat] as const,
  ),
);

describe.each(matrix)('%s', (_, make, useBinaryFormat) => {
  const clients = () => {
    const transport = make({ baseUrl: server.address.url, useBinaryFormat });
    return { engine: createClient(EngineService, transport), completions: createClient(CompletionService, transport) };
  };

  test('a call is answered, with headers and trailers', async () => {
    const seen: string[] = [];
    const answer = await clients().engine.heartbeatWorker(
      { lanes: ['grün', '😀'] },
      {
        headers: { 'x-sent': 'hello' },
        onHeader: (headers) => void seen.push(headers.get('x-seen') ?? ''),
        onTrailer: (trailers) => void seen.push(trailers.get('x-last') ?? ''),
      },
    );
    expect(answer.drainReason).toBe('grün,😀');
    expect(seen).toEqual(['hello', 'yes']);
  });

  test('a megabyte goes both ways', async () => {
    const lane = 'x'.repeat(1_000_000);
    expect((await clients().engine.heartbeatWorker({ lanes: [lane] })).drainReason).toBe(lane);
  });

  test('a refusal keeps its code, text and detail', async () => {
    const error = await thrown(clients().engine.heartbeatWorker({ namespace: 'refuse' }));
    expect(error.code).toBe(Code.FailedPrecondition);
    expect(error.rawMessage).toBe('the lease was lost, 100% (superseded)');
    expect(error.findDetails(ErrorDetailSchema)[0]).toMatchObject({
      reason: 'LEASE_LOST',
      metadata: { why: 'superseded' },
      retryDelay: { seconds: 1n, nanos: 500_000_000 },
    });
  });

  test('a defect answers INTERNAL without its text', async () => {
    const error = await thrown(clients().engine.heartbeatWorker({ namespace: 'defect' }));
    expect(error.code).toBe(Code.Internal);
    expect(error.rawMessage).not.toContain('secret');
    const errorId = error.findDetails(ErrorDetailSchema)[0]?.metadata['error_id'];
    expect(server.logged).toContainEqual(expect.objectContaining({ level: 50, errorId }));
  });

  test('what is not built answers UNIMPLEMENTED, for one message and for streams', async () => {
    const { engine, completions } = clients();
    for (const error of [await thrown(engine.claimExecutions({})), await thrown(cursorsOf(completions.watchLog({})))]) {
      expect(error.code).toBe(Code.Unimplemented);
      expect(reasonOf(error)).toBe('UNIMPLEMENTED');
    }
  });

  test('a stream ends well, or with a typed error after its messages', async () => {
    const { completions } = clients();
    expect(await cursorsOf(completions.watchCompletions({}))).toEqual(['one', 'two', 'three']);
    const got: string[] = [];
    const error = await thrown(cursorsOf(completions.watchCompletions({ namespace: 'refuse' }), got));
    expect(got).toEqual(['one']);
    expect(reasonOf(error)).toBe('LEASE_LOST');
    expect(reasonOf(await thrown(cursorsOf(completions.watchCompletions({ namespace: 'defect' }))))).toBe('INTERNAL');
  });

  test('a handler learns that its client has left', async () => {
    const before = server.givenUp.length;
    const { engine, completions } = clients();
    for (const call of [
      (signal: AbortSignal) => engine.heartbeatWorker({ namespace: 'hang' }, { signal }),
      (signal: AbortSignal) => cursorsOf(completions.watchCompletions({ namespace: 'hang' }, { signal })),
    ]) {
      const leaving = new AbortController();
      const hanging = server.hanging();
      const left = thrown(call(leaving.signal));
      await hanging;
      leaving.abort();
      expect((await left).code).toBe(Code.Canceled);
    }
    await expect
      .poll(() => server.givenUp.slice(before))
      .toMatchObject([{ reason: 'CANCELED' }, { reason: 'CANCELED' }]);
  });

  test('a handler learns that the deadline has passed', async () => {
    const before = server.givenUp.length;
    const { engine } = clients();
    await engine.heartbeatWorker({});
    const error = await thrown(engine.heartbeatWorker({ namespace: 'hang' }, { timeoutMs: 400 }));
    expect(error.code).toBe(Code.DeadlineExceeded);
    await expect.poll(() => server.givenUp.slice(before)).toHaveLength(1);
    expect(['DEADLINE_EXCEEDED', 'CANCELED']).toContain((server.givenUp.at(-1) as { reason: string }).reason);
  });
});

describe('@grpc/grpc-js', () => {
  let client: GrpcJs;
  beforeAll(() => {
    client = new GrpcJs(`127.0.0.1:${server.address.port}`, credentials.createInsecure());
  });
  afterAll(() => client.close());
  const { heartbeatWorker } = EngineService.method;
  const { watchCompletions } = CompletionService.method;

  test('calls and streams', async () => {
    expect((await client.unary(heartbeatWorker, { lanes: ['a', 'b'] })).drainReason).toBe('a,b');
    expect(await cursorsOf(client.stream(watchCompletions, {}))).toEqual(['one', 'two', 'three']);
  });

  test('shows the text of a refusal undistorted, and its detail', async () => {
    const error = await client.unary(heartbeatWorker, { namespace: 'refuse' }).catch((reason: ServiceError) => reason);
    if (!('details' in error)) throw new Error('not refused');
    expect(error.code).toBe(status.FAILED_PRECONDITION);
    expect(error.details).toBe('the lease was lost, 100% (superseded)');
    expect(connectErrorOf(error)?.findDetails(ErrorDetailSchema)[0]?.reason).toBe('LEASE_LOST');
  });

  test('passes its deadline on', async () => {
    const deadline = new Date(Date.now() + 60);
    const error = await client.unary(heartbeatWorker, { namespace: 'hang' }, { deadline }).catch((reason) => reason);
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
  });

  test('refuses an unknown method in its own protocol', async () => {
    const unknown = { ...heartbeatWorker, name: 'Nope' } as typeof heartbeatWorker;
    const error = await client.unary(unknown, {}).catch((reason: ServiceError) => reason);
    if (!('details' in error)) throw new Error('not refused');
    expect(error.code).toBe(status.UNIMPLEMENTED);
    expect(connectErrorOf(error)?.findDetails(ErrorDetailSchema)[0]?.reason).toBe('UNIMPLEMENTED');
  });
});

test('every call leaves one line at debug level, with its end and without its content', async () => {
  const client = createClient(EngineService, createGrpcTransport({ baseUrl: server.address.url }));
  server.logged.length = 0;
  await client.heartbeatWorker({ lanes: ['private'] });
  await thrown(client.heartbeatWorker({ namespace: 'refuse', lanes: ['private'] }));
  expect(server.logged).toMatchObject([
    { procedure: 'tailrace.v1.EngineService/HeartbeatWorker', protocol: 'grpc', code: 'OK' },
    { code: 'FAILED_PRECONDITION', reason: 'LEASE_LOST', durationMs: expect.any(Number) },
  ]);
  expect(JSON.stringify(server.logged)).not.toContain('private');
});
