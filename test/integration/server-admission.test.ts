/** What is let in, and what is refused when there is too much: typed, before it is read, new work first. */
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { gzipSync } from 'node:zlib';
import { Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Health } from '../../gen/health/v1/health_pb.js';
import { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import { CompletionService } from '../../gen/tailrace/v1/completion_service_pb.js';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../gen/tailrace/v1/error_pb.js';
import { asTailraceError } from '../../src/client/errors.js';
import type { ServerOptions } from '../../src/server.js';
import { TinyServer } from '../support/tiny-server.js';

let server: TinyServer;
let letGo: () => void;
let queued = 0;
let decoded = 0;

/** Everything but claims and heartbeats waits until it is let go. */
async function start(options: Partial<ServerOptions>): Promise<void> {
  const gate = new Promise<void>((resolve) => (letGo = resolve));
  decoded = 0;
  const hold = async () => {
    decoded++;
    await gate;
    return {};
  };
  server = await TinyServer.start({
    queuedStatements: () => queued,
    ...options,
    routes: (router) => {
      router.service(EngineService, {
        createExecutions: hold,
        completeExecutions: hold,
        claimExecutions: hold,
        heartbeatWorker: () => ({}),
      });
      router.service(AdminService, { listLanes: hold });
      router.service(CompletionService, {
        async *watchCompletions() {
          await hold();
          yield { heartbeat: { cursor: 'one' } };
        },
      });
    },
  });
}

beforeEach(() => {
  queued = 0;
});
afterEach(async () => {
  vi.restoreAllMocks();
  letGo();
  await expect.poll(() => [server.traffic.admission.calls, server.traffic.buffered.bytes]).toEqual([0, 0]);
  await server.drain();
});

function clients(version: '1.1' | '2' = '2') {
  const transport = createConnectTransport({ baseUrl: server.address.url, httpVersion: version });
  return {
    engine: createClient(EngineService, transport),
    admin: createClient(AdminService, transport),
    completion: createClient(CompletionService, transport),
    health: createClient(Health, transport),
  };
}

async function refusal(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => ConnectError.from(thrown),
  );
  if (!error) throw new Error('was let in');
  const [detail] = error.findDetails(ErrorDetailSchema);
  return { code: error.code, reason: detail?.reason, ...detail?.metadata, retries: detail?.retryDelay !== undefined };
}

const OVERLOADED = { code: Code.ResourceExhausted, reason: 'OVERLOADED', retries: true };

test('new work fills half, the rest three quarters, what finishes work all; probes always pass', async () => {
  await start({ callLimits: { calls: 8 } });
  const { engine, admin, health } = clients();
  const under = async (calls: number) => expect.poll(() => server.traffic.admission.calls).toBe(calls);
  const letIn: Promise<unknown>[] = [];
  for (let made = 0; made < 4; made++) letIn.push(engine.createExecutions({}));
  await under(4);
  expect(await refusal(engine.createExecutions({}))).toEqual({ ...OVERLOADED, why: 'requests' });
  for (let made = 0; made < 2; made++) letIn.push(admin.listLanes({}));
  await under(6);
  expect(await refusal(admin.listLanes({}))).toMatchObject({ why: 'requests' });
  for (let made = 0; made < 2; made++) letIn.push(engine.completeExecutions({}));
  await under(8);
  expect(await refusal(engine.completeExecutions({}))).toMatchObject({ why: 'requests' });
  expect(decoded).toBe(8);
  letIn.push(health.check({}));
  letGo();
  await Promise.all(letIn);
});

test('while the database has a queue only new work is refused', async () => {
  await start({ callLimits: { queuedStatements: 10 } });
  const { engine, admin } = clients();
  queued = 11;
  expect(await refusal(engine.createExecutions({}))).toEqual({ ...OVERLOADED, why: 'requests' });
  const going = [engine.completeExecutions({}), admin.listLanes({}), engine.claimExecutions({})];
  await expect.poll(() => decoded).toBe(3);
  queued = 10;
  going.push(engine.createExecutions({}) as never);
  letGo();
  await Promise.all(going);
});

test('while the process is late new work is refused, and let in once it is not', async () => {
  await start({ callLimits: { lateMs: 60 } });
  letGo();
  const { engine } = clients();
  const refused: unknown[] = [];
  for (let turns = 0; turns < 20 && refused.length === 0; turns++) {
    const until = performance.now() + 250;
    while (performance.now() < until); // one long turn after the other
    engine.createExecutions({}).catch((error: unknown) => refused.push(asTailraceError(error).metadata));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  expect(refused[0]).toEqual({ why: 'requests' });
  await expect
    .poll(() =>
      engine.createExecutions({}).then(
        () => 'let in',
        () => 'refused',
      ),
    )
    .toBe('let in');
});

test('calls that wait have limits of their own: of the server, of a connection, of a caller', async () => {
  await start({ callLimits: { waiting: 3, waitingPerCaller: 2, perConnection: 2 } });
  const [one, two, three] = [clients(), clients(), clients()];
  const stop = new AbortController();
  const waits = [one.engine.claimExecutions({}, { signal: stop.signal })];
  const watching = one.completion.watchCompletions({}, { signal: stop.signal })[Symbol.asyncIterator]().next();
  watching.catch(() => undefined);
  await expect.poll(() => server.traffic.admission.waiting).toBe(2);
  // Two is what an address may have; and the connection keeps a third call from being sent.
  expect(await refusal(two.engine.claimExecutions({}))).toEqual({
    code: Code.ResourceExhausted,
    reason: 'TOO_MANY_STREAMS',
    scope: 'caller',
    limit: '2',
    retries: true,
  });
  expect((await three.engine.heartbeatWorker({})).drain).toBe(false);
  stop.abort();
  await Promise.allSettled([...waits, watching]);
  letGo();
  await expect.poll(() => server.traffic.admission.waiting).toBe(0);
  await two.engine.claimExecutions({});
});

test('a caller leaves room for what others bring, and ends its work', async () => {
  await start({ callLimits: { callsPerCaller: 2 } });
  const { engine, admin } = clients();
  const atWork = [admin.listLanes({}), engine.createExecutions({})];
  await expect.poll(() => decoded).toBe(2);
  expect(await refusal(admin.listLanes({}))).toEqual({ ...OVERLOADED, why: 'requests' });
  const ending = engine.completeExecutions({});
  await expect.poll(() => decoded).toBe(3);
  letGo();
  await Promise.all([...atWork, ending]);
  await admin.listLanes({});
});

test('of the whole server', async () => {
  await start({ callLimits: { waiting: 1 } });
  const { engine } = clients();
  const waiting = engine.claimExecutions({});
  await expect.poll(() => server.traffic.admission.waiting).toBe(1);
  expect(await refusal(engine.claimExecutions({}))).toMatchObject({ reason: 'TOO_MANY_STREAMS', scope: 'server' });
  letGo();
  await waiting;
});

test('a caller has so many calls a second, and ends its work on credit', async () => {
  await start({ callLimits: { perSecond: 3 } });
  const { engine, admin, health } = clients();
  letGo();
  vi.spyOn(performance, 'now').mockReturnValue(performance.now());
  for (let called = 0; called < 6; called++) await admin.listLanes({});
  expect(await refusal(admin.listLanes({}))).toEqual({ ...OVERLOADED, why: 'token_rate' });
  for (let called = 0; called < 5; called++) await engine.completeExecutions({});
  expect((await health.check({})).status).toBe(1);
  const error = await refusalOf(admin.listLanes({}));
  expect(error.retryDelayMs).toBeGreaterThan(1_000); // the credit is to be paid back first
});

async function refusalOf(call: Promise<unknown>) {
  return await call.then(
    () => Promise.reject(new Error('was let in')),
    (thrown: unknown) => asTailraceError(thrown),
  );
}

test('bodies are counted as they come, for the process and for each connection', async () => {
  await start({ maxMessageBytes: 100_000, portLimits: { bufferedBytes: 1 } }); // two messages, then
  const post = (bytes: number) => {
    const request = http.request(`${server.address.url}/tailrace.v1.EngineService/CreateExecutions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': 90_000 },
    });
    request.on('error', () => undefined);
    request.write('x'.repeat(bytes));
    return request;
  };
  const begun = [post(89_000), post(89_000)];
  await expect.poll(() => server.traffic.buffered.bytes).toBe(178_000);
  const third = post(89_000);
  const [response] = (await once(third, 'response')) as [http.IncomingMessage];
  expect(response.statusCode).toBe(429);
  expect(Buffer.concat(await response.toArray()).toString()).toMatch(/as many bytes/);
  third.destroy();
  for (const request of begun) request.destroy();
  await expect.poll(() => server.traffic.buffered.bytes).toBe(0);
});

test('so is what is inflated: short on the wire, long in memory', async () => {
  await start({ maxMessageBytes: 1_000_000, portLimits: { bufferedBytes: 1 } });
  const bomb = gzipSync(JSON.stringify({ executions: [{ type: 'x', lane: 'y'.repeat(900_000) }] }));
  const send = () =>
    fetch(`${server.address.url}/tailrace.v1.EngineService/CreateExecutions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      body: new Uint8Array(bomb),
    });
  const held = [send(), send()];
  await expect.poll(() => decoded).toBe(2);
  expect((await send()).status).toBe(429);
  letGo();
  for (const response of await Promise.all(held)) expect(response.status).toBe(200);
});

test.each([
  ['Connect over HTTP/1.1', () => createConnectTransport({ baseUrl: server.address.url, httpVersion: '1.1' })],
  ['Connect over HTTP/2', () => createConnectTransport({ baseUrl: server.address.url, httpVersion: '2' })],
  ['gRPC', () => createGrpcTransport({ baseUrl: server.address.url })],
])('one connection too many is told so over %s', async (_, transport) => {
  await start({ portLimits: { connectionsPerAddress: 1 } });
  const first = net.connect(server.address.port, '127.0.0.1');
  await once(first, 'connect');
  await expect.poll(() => server.traffic.connections.open).toBe(1);
  const client = createClient(EngineService, transport());
  expect(await refusal(client.heartbeatWorker({}))).toEqual({ ...OVERLOADED, why: 'connections' });
  first.destroy();
  await expect.poll(() => server.traffic.connections.open).toBe(0);
  expect((await createClient(EngineService, transport()).heartbeatWorker({})).drain).toBe(false);
});

test('far too many are reset, and those that are there go on', async () => {
  await start({ portLimits: { connections: 5 } });
  const { engine } = clients();
  await engine.heartbeatWorker({});
  const many = Array.from({ length: 200 }, () => net.connect(server.address.port, '127.0.0.1'));
  let reset = 0;
  for (const socket of many) socket.on('error', () => undefined).on('close', () => reset++);
  await expect.poll(() => reset).toBeGreaterThanOrEqual(200 - 5 - 64);
  expect((await engine.heartbeatWorker({})).drain).toBe(false);
  for (const socket of many) socket.destroy();
});
