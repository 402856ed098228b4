/** A server goes away in order: work is finished, waiting ends, nobody is left without an answer. */
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from '@connectrpc/connect-node';
import { credentials } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as Serving } from '../../gen/health/v1/health_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../gen/tailrace/v1/error_pb.js';
import { StartError } from '../../src/domain/start-error.js';
import { GrpcJs } from '../support/grpc-js.js';
import { TinyServer } from '../support/tiny-server.js';

const PATIENT_MS = 20_000;
let server: TinyServer;
beforeEach(async () => {
  server = await TinyServer.start();
});
afterEach(() => server.drain());

function reasonOf(error: unknown): [Code, string | undefined] {
  const typed = ConnectError.from(error);
  return [typed.code, typed.findDetails(ErrorDetailSchema)[0]?.reason];
}

async function ending(work: Promise<unknown>): Promise<[Code, string | undefined] | 'well'> {
  return await work.then(() => 'well' as const, reasonOf);
}

async function read(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

const transports = [
  ['Connect, HTTP/1.1', () => createConnectTransport({ baseUrl: server.address.url, httpVersion: '1.1' })],
  ['Connect, HTTP/2', () => createConnectTransport({ baseUrl: server.address.url, httpVersion: '2' })],
  ['gRPC', () => createGrpcTransport({ baseUrl: server.address.url })],
] as const;

describe.each(transports)('over %s', (_, transport) => {
  let engine: Client<typeof EngineService>;
  let completions: Client<typeof CompletionService>;
  beforeEach(() => {
    engine = createClient(EngineService, transport());
    completions = createClient(CompletionService, transport());
  });

  test('a call under way finishes; the drain waits for it', async () => {
    const hanging = server.hanging();
    const answer = engine.heartbeatWorker({ namespace: 'hang', lanes: ['late'] });
    await hanging;
    const drained = server.drain(PATIENT_MS);
    server.release();
    expect((await answer).drainReason).toBe('late');
    await drained;
    expect(server.givenUp).toEqual([]);
  });

  test('a long poll learns of the drain and answers at once', async () => {
    const hanging = server.hanging();
    const answer = engine.heartbeatWorker({ namespace: 'poll' });
    await hanging;
    await server.drain(PATIENT_MS);
    expect((await answer).drain).toBe(true);
  });

  test('a stream ends with UNAVAILABLE and DRAINING, and does not hold the drain up', async () => {
    const hanging = server.hanging();
    const end = ending(read(completions.watchCompletions({ namespace: 'hang' })));
    await hanging;
    await server.drain(PATIENT_MS);
    expect(await end).toEqual([Code.Unavailable, 'DRAINING']);
    expect(server.givenUp).toMatchObject([{ reason: 'DRAINING', retryDelayMs: 1_000 }]);
  });

  test('a call that does not finish in time ends with DRAINING', async () => {
    const hanging = server.hanging();
    const end = ending(engine.heartbeatWorker({ namespace: 'hang' }));
    await hanging;
    await server.drain(30);
    expect(await end).toEqual([Code.Unavailable, 'DRAINING']);
  });
});

test('a handler that notices nothing is left behind after a bounded time', async () => {
  let begin = () => {};
  const begun = new Promise<void>((resolve) => (begin = resolve));
  const deaf = await TinyServer.start({
    routes: (router) => {
      router.service(EngineService, {
        heartbeatWorker: () => {
          begin();
          return new Promise(() => undefined);
        },
      });
    },
  });
  const engine = createClient(EngineService, createGrpcTransport({ baseUrl: deaf.address.url }));
  const end = ending(engine.heartbeatWorker({}));
  await begun;
  await deaf.drain(0);
  expect(await end).toEqual([Code.Unavailable, 'DRAINING']);
}, 20_000);

describe('while it drains', () => {
  /** Keeps the drain open, with one call under way on its own connection. */
  async function beginDrain<T>(atOnce?: () => T) {
    const transport = createConnectTransport({ baseUrl: server.address.url, httpVersion: '1.1' });
    const hanging = server.hanging();
    const held = createClient(EngineService, transport).heartbeatWorker({ namespace: 'hang' });
    await hanging;
    const drained = server.drain(PATIENT_MS);
    const crossing = atOnce?.();
    const finish = async () => {
      server.release();
      await held;
      await drained;
    };
    return { crossing, finish };
  }

  test('new calls on old connections are refused with DRAINING, and HTTP/1.1 is told to close', async () => {
    const socket = net.connect(server.address.port, '127.0.0.1');
    await once(socket, 'connect');
    const call =
      'POST /tailrace.v1.EngineService/HeartbeatWorker HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n';
    socket.write(`${call}content-length: 2\r\n`); // the head is not complete: the connection is not idle
    const { finish } = await beginDrain();
    socket.write('\r\n{}');
    const answer = Buffer.concat(await socket.toArray()).toString();
    expect(answer).toMatch(/^HTTP\/1.1 503 .*connection: close.*"reason":"DRAINING"/is);
    await finish();
  });

  test('HTTP/2 connections get GOAWAY, and a call that crosses it is reset as never begun', async () => {
    const session = http2.connect(server.address.url);
    await once(session, 'remoteSettings');
    const goaway = once(session, 'goaway');
    const { crossing, finish } = await beginDrain(() => {
      const path = '/tailrace.v1.EngineService/HeartbeatWorker';
      return session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json' }).end('{}');
    });
    await expect(crossing?.toArray()).rejects.toThrow('REFUSED_STREAM');
    expect((await goaway)[0]).toBe(http2.constants.NGHTTP2_NO_ERROR);
    await finish();
  });

  test('nobody new gets in', async () => {
    const { finish } = await beginDrain();
    await expect(fetch(`${server.address.url}/healthz`)).rejects.toThrow();
    await finish();
  });

  test('a health watch is told NOT_SERVING before its stream ends', async () => {
    const health = createClient(Health, createGrpcTransport({ baseUrl: server.address.url }));
    const seen: Serving[] = [];
    const watching = (async () => {
      for await (const { status } of health.watch({ service: '' })) seen.push(status);
    })();
    await expect.poll(() => seen).toEqual([Serving.SERVING]);
    const end = ending(watching);
    await (await beginDrain()).finish();
    expect(await end).toEqual([Code.Unavailable, 'DRAINING']);
    expect(seen).toEqual([Serving.SERVING, Serving.NOT_SERVING]);
  });
});

test('clients that reconnect find the next server on the same port, without losing a call', async () => {
  const { port, url } = server.address;
  const grpcJs = new GrpcJs(`127.0.0.1:${port}`, credentials.createInsecure());
  const sessionManager = new Http2SessionManager(url);
  const engine = createClient(
    EngineService,
    createConnectTransport({ baseUrl: url, httpVersion: '2', sessionManager }),
  );
  const call = async (lane: string) => [
    (await engine.heartbeatWorker({ lanes: [lane] })).drainReason,
    (await grpcJs.unary(EngineService.method.heartbeatWorker, { lanes: [lane] })).drainReason,
  ];
  expect(await call('one')).toEqual(['one', 'one']);
  await server.drain(PATIENT_MS);
  server = await TinyServer.start({ port });
  expect(await call('two')).toEqual(['two', 'two']);
  grpcJs.close();
  sessionManager.abort();
});

test('a port that is taken stops the start with a message that says so', async () => {
  const { port } = server.address;
  const second = TinyServer.start({ port });
  await expect(second).rejects.toThrow(StartError);
  await expect(second).rejects.toThrow(`cannot listen on 127.0.0.1:${port}: the port is already in use`);
});

test('draining twice is draining once', async () => {
  await Promise.all([server.drain(PATIENT_MS), server.drain(0)]);
});
