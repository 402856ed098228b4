/** Peers that trickle, stay silent, flood or do not read: each is cut off in time, and nobody else notices. */
import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { BareHttp2 } from '../support/bare-http2.js';
import { makeAuthority } from '../support/certificates.js';
import { TinyServer } from '../support/tiny-server.js';

const HEARTBEAT = '/tailrace.v1.EngineService/HeartbeatWorker';
const WATCH = '/tailrace.v1.CompletionService/WatchCompletions';
const HEAD = `POST ${HEARTBEAT} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n`;
const LIMITS = {
  headMs: 200,
  firstCallMs: 300,
  idleMs: 400,
  pingMs: 500,
  bodyGraceMs: 200,
  answerGraceMs: 200,
  streamGraceMs: 200,
  leastBytesPerSecond: 100_000_000,
};
const BIG = 'x'.repeat(12 * 1024 * 1024);

let server: TinyServer;
beforeAll(async () => {
  server = await TinyServer.start({ portLimits: LIMITS });
});
afterAll(async () => {
  const others = createClient(
    EngineService,
    createConnectTransport({ baseUrl: server.address.url, httpVersion: '1.1' }),
  );
  expect((await others.heartbeatWorker({ lanes: ['others'] })).drainReason).toBe('others');
  expect(server.logged.filter((line) => line['level'] === 50)).toEqual([]);
  await server.drain();
});

async function connected(port = server.address.port): Promise<net.Socket> {
  const socket = net.connect(port, '127.0.0.1').on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

/** Everything the server says until it closes. */
async function answerOn(socket: net.Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await new Promise((resolve) => socket.on('close', resolve)); // however it ends
  return Buffer.concat(chunks).toString();
}

test('hundreds of connections that say nothing are closed', async () => {
  const sockets = await Promise.all(Array.from({ length: 300 }, () => connected()));
  await Promise.all(sockets.map((socket) => (socket.resume().closed ? undefined : once(socket, 'close'))));
});

test.each([
  ['its first bytes', ''],
  ['its head', 'POST / HTTP/1.1\r\nhost: a\r\n'],
])('a connection that trickles %s is closed', async (_, begun) => {
  const socket = await connected();
  socket.write(begun);
  const trickle = setInterval(() => socket.write(begun === '' ? '' : 'x: y\r\n'), 40);
  const answer = await answerOn(socket);
  clearInterval(trickle);
  if (begun === '') expect(answer).toBe('');
  else expect(answer).toMatch(/^HTTP\/1\.1 408 .*deadline_exceeded/s);
});

test('a TLS handshake that does not come is not waited for', async () => {
  const own = makeAuthority().issue('server');
  // One that does come has more turns to take than a loaded machine may get done in the usual time.
  const secure = await TinyServer.start({ portLimits: { ...LIMITS, headMs: 1_000 }, tls: own });
  const silent = answerOn(await connected(secure.address.port));
  // Nor what does not come after it.
  const shaken = tls.connect({ port: secure.address.port, host: '127.0.0.1', rejectUnauthorized: false });
  shaken.on('error', () => undefined);
  await once(shaken, 'secureConnect');
  expect(await answerOn(shaken)).toMatch(/^HTTP\/1\.1 408 /);
  await silent;
  await secure.drain();
});

test('a body that trickles over HTTP/1.1 is refused and cut off', async () => {
  const socket = await connected();
  socket.write(`${HEAD}content-length: 100000\r\n\r\n`);
  const trickle = setInterval(() => socket.write('x'), 20);
  const answer = await answerOn(socket);
  clearInterval(trickle);
  expect(answer).toMatch(/DEADLINE_EXCEEDED|deadline_exceeded/);
});

test('so is one behind a refusal, and one over HTTP/2', async () => {
  const socket = await connected();
  socket.write('POST /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n');
  expect(await answerOn(socket)).toMatch(/unimplemented/);

  const session = http2.connect(server.address.url);
  const stream = session.request({ ':method': 'POST', ':path': HEARTBEAT, 'content-type': 'application/json' });
  stream.write('{');
  const [headers] = await once(stream, 'response');
  expect(headers[':status']).toBe(504);
  stream.resume();
  await once(stream, 'close');
  session.close();
});

test('a client that does not take a large answer is cut off', async () => {
  let answered = 0;
  const large = await TinyServer.start({
    portLimits: LIMITS,
    routes: (router) =>
      router.service(EngineService, {
        heartbeatWorker: () => {
          answered++;
          return { drainReason: BIG };
        },
      }),
  });
  const socket = await connected(large.address.port);
  socket.pause();
  socket.write(`${HEAD}content-length: 2\r\n\r\n{}`);
  const underWay = () => large.traffic.admission.calls;
  await expect.poll(() => answered).toBe(1);
  await expect.poll(underWay).toBe(0);
  socket.destroy();

  const session = http2.connect(large.address.url);
  const stream = session.request({ ':method': 'POST', ':path': HEARTBEAT, 'content-type': 'application/json' });
  stream.on('error', () => undefined);
  stream.end('{}');
  await expect.poll(() => answered).toBe(2);
  await expect.poll(underWay).toBe(0);
  session.destroy();
  await large.drain();
});

test('a client that takes no more of a stream is cut off', async () => {
  let ended = false;
  const endless = await TinyServer.start({
    portLimits: LIMITS,
    routes: (router) =>
      router.service(CompletionService, {
        async *watchCompletions() {
          try {
            for (;;) yield { heartbeat: { cursor: BIG.slice(0, 100_000) } };
          } finally {
            ended = true;
          }
        },
      }),
  });
  const session = http2.connect(endless.address.url);
  const stream = session.request({ ':method': 'POST', ':path': WATCH, 'content-type': 'application/grpc' });
  stream.on('error', () => undefined);
  stream.end(Buffer.alloc(5));
  await expect.poll(() => ended).toBe(true);
  session.destroy();
  await endless.drain();
});

test('a watch of a peer that is gone is given up', async () => {
  const before = server.givenUp.length;
  const peer = await BareHttp2.connect(server.address.port);
  const hanging = server.hanging();
  // Field 1, the namespace, is "hang".
  peer.call(WATCH, Buffer.from([0, 0, 0, 0, 6, 0x0a, 4, ...Buffer.from('hang')]));
  await hanging;
  // It reads and acknowledges as TCP, but is not there to answer a ping.
  await peer.closed();
  await expect.poll(() => server.givenUp.length).toBe(before + 1);
});

test('a peer that answers pings is left alone while it has a call', async () => {
  const session = http2.connect(server.address.url);
  const hanging = server.hanging();
  const stream = session.request({ ':method': 'POST', ':path': HEARTBEAT, 'content-type': 'application/json' });
  stream.end(JSON.stringify({ namespace: 'hang' }));
  await hanging;
  let pings = 0;
  session.on('ping', () => pings++);
  await expect.poll(() => pings, { timeout: 20_000 }).toBeGreaterThanOrEqual(2);
  server.release();
  const [headers] = await once(stream, 'response');
  expect(headers[':status']).toBe(200);
  stream.resume();
  await once(session, 'close'); // as it has no use for it anymore
});

test('a connection that never calls is told to go', async () => {
  const session = http2.connect(server.address.url);
  const [code] = await once(session, 'goaway');
  expect(code).toBe(http2.constants.NGHTTP2_NO_ERROR);
});

test.each([
  ['pings', (peer: BareHttp2) => peer.ping()],
  ['settings', (peer: BareHttp2) => peer.settings()],
])('a flood of %s ends the connection', async (kind, send) => {
  // With the usual limits: a machine that stalls would have the peer cut off for making no call.
  const patient = await TinyServer.start();
  const peer = await BareHttp2.connect(patient.address.port);
  for (let sent = 0; sent < 400; sent++) send(peer);
  await peer.closed();
  expect(patient.logged).toContainEqual(expect.objectContaining({ kind, msg: expect.stringMatching(/floods/) }));
  expect(patient.logged.filter((line) => line['level'] === 50)).toEqual([]);
  await patient.drain();
});

test('so do calls that are begun only to be thrown away', async () => {
  const patient = await TinyServer.start();
  const session = http2.connect(patient.address.url);
  let goneWith: number | undefined;
  session.on('goaway', (code) => {
    goneWith = code;
  });
  session.on('error', () => undefined);
  while (!session.destroyed && !session.closed) {
    for (let begun = 0; begun < 20; begun++) {
      const stream = session.request({ ':method': 'POST', ':path': HEARTBEAT, 'content-type': 'application/json' });
      stream.on('error', () => undefined);
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(goneWith).toBeGreaterThan(http2.constants.NGHTTP2_NO_ERROR);
  expect(patient.logged.filter((line) => line['level'] === 50)).toEqual([]);
  await patient.drain();
});

test.each([
  ['one that is long', `x: ${'y'.repeat(20_000)}\r\n`],
  ['too many', 'x: y\r\n'.repeat(200)],
])('headers are refused when they are %s', async (_, headers) => {
  const socket = await connected();
  socket.write(`${HEAD}${headers}connection: close\r\ncontent-length: 2\r\n\r\n{}`);
  expect(await answerOn(socket)).toMatch(/^HTTP\/1\.1 431 .*resource_exhausted/s);
});

test('over HTTP/2 such a call is reset', async () => {
  const session = http2.connect(server.address.url);
  await once(session, 'remoteSettings');
  await new Promise((resolve) => session.ping(resolve)); // both know each other's settings
  const stream = session.request({ ':method': 'POST', ':path': HEARTBEAT, x: 'y'.repeat(20_000) });
  await expect(once(stream, 'response')).rejects.toThrow();
  session.destroy();
});

test('what is no HTTP is told so', async () => {
  const socket = await connected();
  socket.write('\x16\x03\x01 hello\r\n\r\n');
  expect(await answerOn(socket)).toMatch(/^HTTP\/1\.1 400 .*invalid_argument/s);
});
