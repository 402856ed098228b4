/** Whatever is sent to the port, what comes back is a typed error, and never INTERNAL. */
import { once } from 'node:events';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { gzipSync } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import { base64Decode } from '@bufbuild/protobuf/wire';
import { findTrailerError } from '@connectrpc/connect/protocol-grpc';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ErrorDetail, ErrorDetailSchema } from '../../gen/tailrace/v1/error_pb.js';
import { TinyServer } from '../support/tiny-server.js';

const LIMIT = 64 * 1024;
let server: TinyServer;
beforeAll(async () => {
  server = await TinyServer.start({ maxMessageBytes: LIMIT, allowedOrigins: ['https://console.example.com'] });
});
afterAll(async () => {
  expect(server.logged.filter((line) => line['level'] === 50)).toEqual([]);
  await server.drain();
});

const HEARTBEAT = '/tailrace.v1.EngineService/HeartbeatWorker';
const WATCH = '/tailrace.v1.CompletionService/WatchCompletions';
const JSON_TYPE = { 'content-type': 'application/json' };
const PROTO_TYPE = { 'content-type': 'application/proto' };

type Headers_ = Record<string, string>;
interface Refusal {
  status: number;
  code: string;
  message: string;
  detail: ErrorDetail;
}

async function post(path: string, headers: Headers_, body?: string | Uint8Array): Promise<Response> {
  return await fetch(server.address.url + path, { method: 'POST', headers, ...(body === undefined ? {} : { body }) });
}

async function refusalIn(response: Response): Promise<Refusal> {
  const body = (await response.json()) as { code: string; message: string; details: { value: string }[] };
  const [detail] = body.details;
  if (!detail) throw new Error('no detail');
  return { ...body, status: response.status, detail: fromBinary(ErrorDetailSchema, base64Decode(detail.value)) };
}

async function refused(path: string, headers: Headers_, body?: string | Uint8Array): Promise<Refusal> {
  return refusalIn(await post(path, headers, body));
}

/** field 2 (worker) > field 1 (name), and so on: tag, length, bytes. */
const field = (number: number, bytes: Uint8Array | number[]) =>
  Uint8Array.from([(number << 3) | 2, bytes.length, ...bytes]);

describe('content that cannot be decoded', () => {
  test.each<[string, Headers_, string | Uint8Array | undefined, string, string | undefined]>([
    ['no JSON', JSON_TYPE, '{"lanes": [', 'MALFORMED_REQUEST', undefined],
    ['nothing at all', JSON_TYPE, undefined, 'MALFORMED_REQUEST', undefined],
    ['JSON that is no object', JSON_TYPE, '[]', 'MALFORMED_REQUEST', undefined],
    ['an unknown field', JSON_TYPE, '{"lane": "a"}', 'INVALID_FIELD', 'lane'],
    ['a field of the wrong type', JSON_TYPE, '{"maxConcurrency": "many"}', 'INVALID_FIELD', 'max_concurrency'],
    ['a number out of range', JSON_TYPE, '{"maxConcurrency": 4294967296}', 'INVALID_FIELD', 'max_concurrency'],
    ['half a surrogate pair', JSON_TYPE, '{"namespace": "\\ud800"}', 'INVALID_FIELD', 'namespace'],
    ['JSON in broken UTF-8', JSON_TYPE, Uint8Array.from([0x22, 0xff, 0xfe, 0x22]), 'MALFORMED_REQUEST', undefined],
    ['a broken binary message', PROTO_TYPE, Uint8Array.from([0x0a, 0x20, 0x01]), 'MALFORMED_REQUEST', undefined],
    ['a binary string in broken UTF-8', PROTO_TYPE, field(1, [0xff, 0xfe]), 'MALFORMED_REQUEST', undefined],
    ['what calls itself gzip', { ...JSON_TYPE, 'content-encoding': 'gzip' }, '{}', 'MALFORMED_REQUEST', undefined],
    [
      'a timeout that is no number',
      { ...JSON_TYPE, 'connect-timeout-ms': 'soon' },
      '{}',
      'MALFORMED_REQUEST',
      undefined,
    ],
  ])('%s', async (_, headers, body, reason, named) => {
    const { status, code, detail } = await refused(HEARTBEAT, headers, body);
    expect({ status, code, reason: detail.reason }).toEqual({ status: 400, code: 'invalid_argument', reason });
    expect(detail.fieldViolations[0]?.field).toBe(named);
  });

  test('an unknown enum name, which the decoder knows by its enum only', async () => {
    const refusal = await refused('/tailrace.v1.CompletionService/AwaitExecutions', JSON_TYPE, '{"mode": "SOME"}');
    expect(refusal).toMatchObject({ code: 'invalid_argument', detail: { reason: 'MALFORMED_REQUEST' } });
    expect(refusal.message).toContain('tailrace.v1.AwaitMode');
  });

  test('values nested beyond reason', async () => {
    const depth = 20_000;
    const specs = `{"executions":[{"input":{"json":${'['.repeat(depth)}${']'.repeat(depth)}}}]}`;
    const { code, detail } = await refused('/tailrace.v1.EngineService/CreateExecutions', JSON_TYPE, specs);
    expect([code, detail.reason]).toEqual(['invalid_argument', 'MALFORMED_REQUEST']);
  });

  test('a compression nobody knows', async () => {
    const { code, detail } = await refused(HEARTBEAT, { ...JSON_TYPE, 'content-encoding': 'zstd' }, '{}');
    expect([code, detail.reason]).toEqual(['unimplemented', 'UNIMPLEMENTED']);
  });

  test('unknown fields of a binary message are let pass, as protobuf promises', async () => {
    expect((await post(HEARTBEAT, PROTO_TYPE, field(15, [1, 2, 3]))).status).toBe(200);
  });

  test('gzip is read', async () => {
    const body = gzipSync(JSON.stringify({ lanes: ['zipped'] }));
    const answer = await post(HEARTBEAT, { ...JSON_TYPE, 'content-encoding': 'gzip' }, body);
    expect(await answer.json()).toMatchObject({ drainReason: 'zipped' });
  });
});

describe('messages over the limit', () => {
  const big = JSON.stringify({ lanes: ['x'.repeat(LIMIT * 4)] });

  test.each<[string, Headers_, () => Uint8Array]>([
    ['sent whole', JSON_TYPE, () => Buffer.from(big)],
    ['hidden in gzip', { ...JSON_TYPE, 'content-encoding': 'gzip' }, () => gzipSync(big)],
  ])('%s', async (_, headers, body) => {
    const { code, detail } = await refused(HEARTBEAT, headers, body());
    expect(code).toBe('resource_exhausted');
    expect(detail).toMatchObject({ reason: 'PAYLOAD_TOO_LARGE', metadata: { limit: String(LIMIT) } });
  });

  test('sent in pieces, without a length: the client gets its answer after sending them all', async () => {
    const request = http.request(server.address.url + HEARTBEAT, { method: 'POST', headers: JSON_TYPE });
    for (let i = 0; i < 64; i++) request.write(Buffer.alloc(LIMIT));
    request.end();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const body = Buffer.concat(await response.toArray()).toString();
    expect([response.statusCode, JSON.parse(body).code]).toEqual([429, 'resource_exhausted']);
  });

  test('the limit itself is allowed', async () => {
    const lane = 'x'.repeat(LIMIT - '{"lanes":[""]}'.length);
    expect((await post(HEARTBEAT, JSON_TYPE, JSON.stringify({ lanes: [lane] }))).status).toBe(200);
  });
});

describe('envelopes', () => {
  async function grpc(path: string, body: Uint8Array, headers: Headers_ = {}) {
    const session = http2.connect(server.address.url);
    try {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...headers,
      });
      let status: Headers_ = {};
      stream.on('trailers', (trailers: Headers_) => {
        status = trailers;
      });
      stream.end(body);
      await stream.resume().toArray();
      const error = findTrailerError(new Headers(Object.entries(status)));
      return { reason: error?.findDetails(ErrorDetailSchema)[0]?.reason, message: error?.rawMessage };
    } finally {
      session.close();
    }
  }
  const framed = (message: Uint8Array, flags = 0, length = message.length) =>
    Uint8Array.from([flags, length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255, ...message]);

  test.each<[string, Uint8Array, Headers_, string]>([
    ['none', new Uint8Array(), {}, 'MALFORMED_REQUEST'],
    ['a cut prefix', Uint8Array.from([0, 0]), {}, 'MALFORMED_REQUEST'],
    ['a cut message', framed(new Uint8Array(3), 0, 9), {}, 'MALFORMED_REQUEST'],
    ['two messages', Buffer.concat([framed(new Uint8Array()), framed(new Uint8Array())]), {}, 'MALFORMED_REQUEST'],
    ['unknown flags', framed(new Uint8Array(), 4), {}, 'MALFORMED_REQUEST'],
    ['a length over the limit', framed(new Uint8Array(), 0, LIMIT + 1), {}, 'PAYLOAD_TOO_LARGE'],
    ['compressed without saying how', framed(gzipSync('x'), 1), {}, 'MALFORMED_REQUEST'],
    ['an unknown compression', framed(new Uint8Array(), 1), { 'grpc-encoding': 'snappy' }, 'UNIMPLEMENTED'],
    ['an impossible timeout', framed(new Uint8Array()), { 'grpc-timeout': '1year' }, 'MALFORMED_REQUEST'],
    ['broken UTF-8', framed(field(1, [0xff])), {}, 'MALFORMED_REQUEST'],
  ])('%s', async (_, body, headers, reason) => {
    expect(await grpc(HEARTBEAT, body, headers)).toMatchObject({ reason });
    expect(await grpc(WATCH, body, headers)).toMatchObject({ reason });
  });

  test('a compressed message, and a deadline beyond what timers hold, are fine', async () => {
    const headers = { 'grpc-encoding': 'gzip', 'grpc-timeout': '99999999H' };
    expect(await grpc(HEARTBEAT, framed(gzipSync(field(3, [65])), 1), headers)).toEqual({});
  });

  test('a stream from the client that breaks off is refused as well', async () => {
    const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
    expect(await grpc(path, framed(new Uint8Array(3), 0, 9))).toMatchObject({ reason: 'MALFORMED_REQUEST' });
    expect(await grpc(path, framed(new Uint8Array(), 0, LIMIT + 1))).toMatchObject({ reason: 'PAYLOAD_TOO_LARGE' });
  });
});

describe('requests that are no call', () => {
  test.each<[string, string, RequestInit, number, string]>([
    ['an unknown path', '/nope', { method: 'GET' }, 404, 'UNIMPLEMENTED'],
    [
      'an unknown method',
      '/tailrace.v1.EngineService/Nope',
      { method: 'POST', headers: JSON_TYPE, body: '{}' },
      404,
      'UNIMPLEMENTED',
    ],
    ['GET', HEARTBEAT, { method: 'GET' }, 405, 'MALFORMED_REQUEST'],
    ['a form', HEARTBEAT, { method: 'POST', body: new URLSearchParams({ a: '1' }) }, 415, 'MALFORMED_REQUEST'],
    ['no content type', HEARTBEAT, { method: 'POST', body: new Uint8Array([1]) }, 415, 'MALFORMED_REQUEST'],
    [
      'JSON in another charset',
      HEARTBEAT,
      { method: 'POST', headers: { 'content-type': 'application/json; charset=latin1' }, body: '{}' },
      415,
      'MALFORMED_REQUEST',
    ],
    [
      'a stream asked as one message',
      WATCH,
      { method: 'POST', headers: JSON_TYPE, body: '{}' },
      415,
      'MALFORMED_REQUEST',
    ],
    [
      'two-way streaming over HTTP/1.1',
      '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
      { method: 'POST', headers: { 'content-type': 'application/grpc' } },
      505,
      'MALFORMED_REQUEST',
    ],
  ])('%s', async (_, path, init, status, reason) => {
    const refusal = await refusalIn(await fetch(server.address.url + path, init));
    expect([refusal.status, refusal.detail.reason]).toEqual([status, reason]);
  });

  test('content types with parameters are calls', async () => {
    const answer = await post(HEARTBEAT, { 'content-type': 'Application/JSON; charset="utf-8"' }, '{"lanes":["a"]}');
    expect(await answer.json()).toEqual({ drainReason: 'a' });
  });

  test.each([
    [
      'no host',
      `POST ${HEARTBEAT} HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}`,
      /200 OK/,
    ],
    [
      'half a connection closed after the request',
      `GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
      /ok/,
    ],
    ['no HTTP', 'PUNT me down a river\r\n\r\n', /400 Bad Request/],
  ])('%s', async (_, bytes, expected) => {
    const socket = net.connect(server.address.port, '127.0.0.1');
    socket.end(bytes);
    expect(Buffer.concat(await socket.toArray()).toString()).toMatch(expected);
  });

  test('bytes that come one by one', async () => {
    const socket = net.connect({ port: server.address.port, host: '127.0.0.1', noDelay: true });
    for (const byte of 'PUT /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n') {
      await new Promise((resolve) => socket.write(byte, resolve));
    }
    expect(Buffer.concat(await socket.toArray()).toString()).toMatch(/405/);
  });
});

describe('web pages', () => {
  const preflight = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' };

  test('of other origins are refused, whatever they send', async () => {
    const { status, detail } = await refused(HEARTBEAT, { ...JSON_TYPE, origin: 'https://evil.example.com' }, '{}');
    expect([status, detail.reason]).toEqual([403, 'ORIGIN_REFUSED']);
  });

  test('of a listed origin may ask, and read the answer', async () => {
    const origin = 'https://console.example.com';
    const asked = await fetch(server.address.url + HEARTBEAT, { method: 'OPTIONS', headers: { origin, ...preflight } });
    expect(asked.status).toBe(204);
    expect(asked.headers.get('access-control-allow-headers')).toMatch(/content-type/i);
    const answer = await post(HEARTBEAT, { ...JSON_TYPE, origin }, '{"lanes":["a"]}');
    expect(answer.headers.get('access-control-allow-origin')).toBe(origin);
    expect(answer.headers.get('access-control-expose-headers')).toMatch(/grpc-status/i);
    expect(await answer.json()).toEqual({ drainReason: 'a' });
  });
});
