import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ErrorCode, ErrorDetailSchema, ItemErrorSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { asTailraceError, fromItemError, TailraceError } from '../../../src/client/errors.js';
import { Client } from '../../../src/client/index.js';
import { makeAuthority } from '../../support/certificates.js';
import { REFUSAL, TinyServer } from '../../support/tiny-server.js';

const detail = {
  reason: 'INVALID_FIELD',
  metadata: { limit: '5' },
  retryDelay: { seconds: 1n, nanos: 500_000_000 },
  fieldViolations: [{ field: 'executions[3].lane', description: 'is too long' }],
};

describe('a typed error', () => {
  test('is rebuilt from the detail of a call', () => {
    const error = new ConnectError('text', Code.InvalidArgument, undefined, [
      { desc: ErrorDetailSchema, value: detail },
    ]);
    expect(asTailraceError(error)).toMatchObject({
      name: 'TailraceError',
      message: 'text',
      code: Code.InvalidArgument,
      reason: 'INVALID_FIELD',
      metadata: { limit: '5' },
      retryDelayMs: 1_500,
      violations: [{ field: 'executions[3].lane', description: 'is too long' }],
      cause: error,
    });
  });

  test('is rebuilt from the refusal of an item', () => {
    const error = fromItemError(
      create(ItemErrorSchema, {
        code: ErrorCode.FAILED_PRECONDITION,
        message: 'text',
        detail: { reason: 'LEASE_LOST' },
      }),
    );
    expect(error).toMatchObject({ code: Code.FailedPrecondition, reason: 'LEASE_LOST', retryDelayMs: undefined });
  });

  test('is made of anything else, with the original as its cause', () => {
    const thrown = new TypeError('a defect');
    expect(asTailraceError(thrown)).toMatchObject({ reason: undefined, code: Code.Unknown, cause: thrown });
    const known = new TailraceError(Code.NotFound, 'x');
    expect(asTailraceError(known)).toBe(known);
  });
});

describe('passing', () => {
  const withReason = (code: Code, reason: string) => new TailraceError(code, '', create(ErrorDetailSchema, { reason }));
  test.each([
    [withReason(Code.Unavailable, 'DATABASE_UNAVAILABLE'), true],
    [withReason(Code.Unavailable, 'DRAINING'), true],
    [withReason(Code.Aborted, 'CONTENTION'), true],
    [withReason(Code.ResourceExhausted, 'OVERLOADED'), true],
    [withReason(Code.Aborted, 'VERSION_CONFLICT'), false],
    [withReason(Code.ResourceExhausted, 'PAYLOAD_TOO_LARGE'), false],
    [withReason(Code.Internal, 'INTERNAL'), false],
    [new TailraceError(Code.Unavailable, 'connection refused'), true],
    [new TailraceError(Code.Internal, 'protocol error'), true],
    [new TailraceError(Code.PermissionDenied, 'a proxy says no'), false],
  ])('%s %#: by reason, or by code when the engine did not answer', (error, passing) => {
    expect(error.passing).toBe(passing);
  });
});

describe.each(['connect', 'grpc'] as const)('over %s', (transport) => {
  let server: TinyServer;
  let client: Client;
  beforeAll(async () => {
    server = await TinyServer.start();
    client = new Client({ url: server.address.url, transport });
  });
  afterAll(async () => {
    client.close();
    await server.drain();
  });

  test('an answer arrives', async () => {
    await expect(client.engine.heartbeatWorker({ lanes: ['a'] })).resolves.toBeDefined();
  });

  test('a refusal keeps its reason, its facts and its text', async () => {
    const error = asTailraceError(
      await client.engine.heartbeatWorker({ namespace: 'refuse' }).catch((thrown) => thrown),
    );
    expect(error).toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'LEASE_LOST',
      message: REFUSAL.message,
      metadata: { why: 'superseded' },
      retryDelayMs: 1_500,
    });
  });

  test('a stream delivers what came before its refusal', async () => {
    let messages = 0;
    const read = async () => {
      for await (const _ of client.completions.watchCompletions({ namespace: 'refuse' })) messages++;
    };
    const error = asTailraceError(await read().catch((thrown) => thrown));
    expect(messages).toBe(1);
    expect(error.reason).toBe('LEASE_LOST');
  });

  test('leaving a watch gives its stream up at the server', async () => {
    const hanging = server.hanging();
    const reader = new Client({ url: server.address.url, transport, namespace: 'hang' });
    const watch = await reader.watchCompletions();
    await hanging;
    watch.close();
    await expect.poll(() => server.givenUp.length).toBe(1);
    reader.close();
  });

  test('a call is canceled by its signal', async () => {
    const abort = new AbortController();
    const hanging = server.hanging();
    const call = client.engine.heartbeatWorker({ namespace: 'hang' }, { signal: abort.signal });
    await hanging;
    abort.abort();
    expect(asTailraceError(await call.catch((thrown) => thrown)).code).toBe(Code.Canceled);
    server.release();
  });

  test('a call has its deadline', async () => {
    const call = client.engine.heartbeatWorker({ namespace: 'hang' }, { timeoutMs: 50 });
    expect(asTailraceError(await call.catch((thrown) => thrown)).code).toBe(Code.DeadlineExceeded);
    server.release();
  });

  test('a server that is not there is a passing error', async () => {
    const nobody = new Client({ url: 'http://127.0.0.1:1', transport });
    const error = asTailraceError(await nobody.engine.heartbeatWorker({}).catch((thrown) => thrown));
    expect(error).toMatchObject({ reason: undefined, passing: true });
    nobody.close();
  });

  test('a server that asks for certificates knows its clients', async () => {
    const authority = makeAuthority();
    const { cert, key } = authority.issue('server');
    const secured = await TinyServer.start({
      tls: { cert: Buffer.from(cert), key: Buffer.from(key), clientCa: Buffer.from(authority.cert) },
    });
    const { url } = secured.address;
    const known = new Client({ url, transport, tls: { ca: authority.cert, ...authority.issue('client') } });
    await expect(known.engine.heartbeatWorker({})).resolves.toBeDefined();
    known.close();
    const stranger = new Client({ url, transport, tls: { ca: authority.cert } });
    await expect(stranger.engine.heartbeatWorker({})).rejects.toThrow();
    stranger.close();
    await secured.drain();
  });
});
