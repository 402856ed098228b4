/** TLS on the same port: both versions of HTTP by negotiation, and client certificates where they are asked for. */
import tls from 'node:tls';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { credentials } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { StartError } from '../../src/domain/start-error.js';
import { type Certificate, makeAuthority } from '../support/certificates.js';
import { GrpcJs } from '../support/grpc-js.js';
import { TinyServer } from '../support/tiny-server.js';

const authority = makeAuthority();
const own = authority.issue('server');
const ca = authority.cert;

async function lanesOver(url: string, kind: 'connect1' | 'connect2' | 'grpc', nodeOptions: object): Promise<string> {
  const transport =
    kind === 'grpc'
      ? createGrpcTransport({ baseUrl: url, nodeOptions })
      : createConnectTransport({ baseUrl: url, nodeOptions, httpVersion: kind === 'connect1' ? '1.1' : '2' });
  const answer = await createClient(EngineService, transport).heartbeatWorker({ lanes: ['secure'] });
  return answer.drainReason;
}

async function lanesOverGrpcJs(port: number, presented?: Certificate): Promise<string> {
  const channel = credentials.createSsl(
    Buffer.from(ca),
    presented ? Buffer.from(presented.key) : null,
    presented ? Buffer.from(presented.cert) : null,
  );
  const client = new GrpcJs(`localhost:${port}`, channel);
  try {
    const deadline = new Date(Date.now() + 20_000);
    return (await client.unary(EngineService.method.heartbeatWorker, { lanes: ['secure'] }, { deadline })).drainReason;
  } finally {
    client.close();
  }
}

describe('TLS', () => {
  let server: TinyServer;
  beforeAll(async () => {
    server = await TinyServer.start({ tls: own });
  });
  afterAll(() => server.drain());

  test('carries every protocol', async () => {
    const { url, port } = server.address;
    expect(url).toMatch(/^https:/);
    for (const kind of ['connect1', 'connect2', 'grpc'] as const)
      expect(await lanesOver(url, kind, { ca })).toBe('secure');
    expect(await lanesOverGrpcJs(port)).toBe('secure');
  });

  test('serves pages to a client that negotiates nothing', async () => {
    const socket = tls.connect({ port: server.address.port, host: '127.0.0.1', ca });
    socket.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    const answer = Buffer.concat(await socket.toArray()).toString();
    expect(answer).toMatch(/^HTTP\/1.1 200 OK.*ok\n$/s);
  });

  test('is not cleartext', async () => {
    await expect(fetch(`http://127.0.0.1:${server.address.port}/healthz`)).rejects.toThrow();
    await expect.poll(() => server.logged.map((line) => line['msg'])).toContain('TLS handshake failed');
  });
});

describe('TLS with client certificates', () => {
  let server: TinyServer;
  const client = authority.issue('worker');
  const foreign = makeAuthority('Foreign Authority').issue('stranger');
  beforeAll(async () => {
    server = await TinyServer.start({ tls: { ...own, clientCa: ca } });
  });
  afterAll(() => server.drain());

  test('lets in who has one', async () => {
    const { url, port } = server.address;
    const nodeOptions = { ca, cert: client.cert, key: client.key };
    for (const kind of ['connect1', 'connect2', 'grpc'] as const)
      expect(await lanesOver(url, kind, nodeOptions)).toBe('secure');
    expect(await lanesOverGrpcJs(port, client)).toBe('secure');
  });

  test.each([
    ['nobody', {}],
    ['a stranger', { cert: foreign.cert, key: foreign.key }],
  ])('keeps out %s', async (_, presented) => {
    for (const kind of ['connect1', 'connect2', 'grpc'] as const) {
      await expect(lanesOver(server.address.url, kind, { ca, ...presented })).rejects.toThrow();
    }
  });
});

test('a key that fits no certificate stops the start with a clear message', async () => {
  const wrong = { cert: own.cert, key: authority.issue('other').key };
  await expect(TinyServer.start({ tls: wrong })).rejects.toThrow(StartError);
  await expect(TinyServer.start({ tls: { cert: 'none', key: 'none' } })).rejects.toThrow(/certificate or key/);
});
