/** Who gets in: with which tokens, over which protocol, for how long; and what is told of it. */
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { Role } from '../../../gen/tailrace/v1/namespace_pb.js';
import { bearing } from '../../../src/client/bearing.js';
import { Client } from '../../../src/client/index.js';
import { makeSecret } from '../../../src/services/authentication/index.js';
import { refusal, seconds } from '../../support/by-hand.js';
import { eventually } from '../../support/eventually.js';
import { type Guarded, type Holder, holderOf, startGuarded } from '../../support/guarded.js';
import { callRaw } from '../../support/raw-call.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const said: string[] = [];
const logger = pino({ level: 'trace' }, { write: (line: string) => void said.push(line) });

let tailrace: Guarded;
let second: TestTailrace;
beforeAll(async () => {
  tailrace = await startGuarded({ logger });
  second = await startTailrace({ database: tailrace.database, environment: { TAILRACE_AUTHENTICATION: 'required' } });
});
afterAll(async () => {
  await second.stop();
  await tailrace.stop();
});

const OVER: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  'Connect over HTTP/2': (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '2' }),
  'Connect over HTTP/1.1': (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '1.1' }),
  'JSON over HTTP/1.1': (baseUrl) => createConnectTransport({ baseUrl, httpVersion: '1.1', useBinaryFormat: false }),
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  'gRPC-Web': (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: '2' }),
};

describe.each(Object.keys(OVER))('over %s', (name) => {
  const infoWith = async (token?: string) => {
    const plain = (OVER[name] as (url: string) => Transport)(tailrace.url);
    const admin = createClient(AdminService, token === undefined ? plain : bearing(plain, token));
    return await admin.getServerInfo({});
  };

  test('a token says who calls', async () => {
    const holder = await tailrace.as({ name: 'carol', roles: [Role.CLIENT, Role.WORKER] });
    const { caller } = await infoWith(holder.secret);
    expect(caller).toMatchObject({
      ...{ name: 'carol', namespace: 'default', tokenId: holder.tokenId },
      roles: [Role.CLIENT, Role.WORKER],
    });
  });

  test('without a good one nobody gets in, and all are told the same', async () => {
    const revoked = await tailrace.as({ roles: [Role.CLIENT] });
    expect((await infoWith(revoked.secret)).caller?.tokenId).toBe(revoked.tokenId);
    await tailrace.admin.revokeToken({ tokenId: revoked.tokenId });
    const mine = makeSecret().text;
    // Its id is a token's, the rest is not.
    const forged = `${tailrace.secret.slice(0, 26)}${mine.slice(26)}`;
    const refusals = [];
    for (const token of [undefined, 'tr_', 'not a token', tailrace.secret.slice(0, -1), mine, forged, revoked.secret]) {
      const error = await infoWith(token).then(() => undefined, ConnectError.from);
      expect(error?.code).toBe(Code.Unauthenticated);
      refusals.push([error?.message, (await refusal(infoWith(token))).reason]);
    }
    expect(refusals[0]?.[1]).toBe('INVALID_TOKEN');
    expect(new Set(refusals.map((one) => JSON.stringify(one))).size).toBe(1);
  });
});

test('plain HTTP is told how to show who calls', async () => {
  const response = await fetch(`${tailrace.url}/tailrace.v1.AdminService/GetServerInfo`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  expect(response.status).toBe(401);
  expect(response.headers.get('www-authenticate')).toBe('Bearer');
  expect(await response.text()).toContain('authorization: Bearer tr_');
});

test.each(['Basic abc', 'Bearer', 'Bearer a b', ''])('authorization: %s is no token', async (authorization) => {
  const answer = await callRaw(tailrace.url, AdminService.method.getServerInfo, '{}', { authorization });
  expect('refusal' in answer && answer.refusal.detail?.reason).toBe('INVALID_TOKEN');
});

test('what shows the contract, and that the server lives, is open to everybody', async () => {
  for (const page of ['/', '/healthz', '/readyz']) expect((await fetch(`${tailrace.url}${page}`)).status).toBe(200);
  const health = await fetch(`${tailrace.url}/grpc.health.v1.Health/Check`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  expect(await health.json()).toEqual({ status: 'SERVING' });
});

test('a token ends when its time is up, also where it is remembered', async () => {
  const holder = await tailrace.as({ roles: [Role.CLIENT], expirySeconds: 6 });
  const { caller } = await holder.admin.getServerInfo({});
  expect(caller?.tokenId).toBe(holder.tokenId);
  await eventually(async () => (await refusalOf(holder)) === 'INVALID_TOKEN');
  const { tokens } = await tailrace.admin.listTokens({ includeRevoked: true, pageSize: 1_000 });
  const shown = tokens.find(({ tokenId }) => tokenId === holder.tokenId);
  expect(shown?.expireTime).toBeDefined();
  expect(shown?.revokeTime).toBeUndefined();
  const live = await tailrace.admin.listTokens({ pageSize: 1_000 });
  expect(live.tokens.map(({ tokenId }) => tokenId)).not.toContain(holder.tokenId);
});

test('a revoked token is refused here at once, and everywhere soon', async () => {
  const holder = await tailrace.as({ roles: [Role.CLIENT] });
  const there = holderOf(second.url, holder.secret);
  await eventually(async () => (await refusalOf(there)) === undefined);
  const { token } = await tailrace.admin.revokeToken({ tokenId: holder.tokenId, reason: 'it leaked' });
  const began = performance.now();
  expect(token?.revokeTime).toBeDefined();
  expect(await refusalOf(holder)).toBe('INVALID_TOKEN');
  await eventually(async () => (await refusalOf(there)) === 'INVALID_TOKEN');
  expect(performance.now() - began).toBeLessThan(15_000);
  const again = await tailrace.admin.revokeToken({ tokenId: holder.tokenId });
  expect(again.token?.revokeTime).toEqual(token?.revokeTime);
});

test.each(['revoked', 'past its end'])('calls under way end soon after their token is %s', async (how) => {
  const expiry = how === 'revoked' ? {} : { expirySeconds: 6 };
  const holder = await tailrace.as({ roles: [Role.CLIENT, Role.WORKER], ...expiry });
  const reading = async ({ completion }: Pick<Holder, 'completion'>) => {
    for await (const message of completion.watchLog({})) expect(message).toBeDefined();
  };
  const claiming = ({ engine }: Pick<Holder, 'engine'>) =>
    engine.claimExecutions({ worker: { name: 'late' }, lanes: [{ lane: 'of nobody' }], wait: seconds(30) });
  const there = holderOf(second.url, holder.secret);
  const ends = [reading(holder), reading(there), claiming(holder), claiming(there)].map(refusal);
  const spared = tailrace.engine.claimExecutions({
    worker: { name: 'good' },
    lanes: [{ lane: 'of nobody' }],
    wait: seconds(8),
  });
  await holder.whoAmI();
  await there.whoAmI();
  if (how === 'revoked') await tailrace.admin.revokeToken({ tokenId: holder.tokenId });
  const began = performance.now();
  expect((await Promise.all(ends)).map(({ reason }) => reason)).toEqual(Array(4).fill('INVALID_TOKEN'));
  expect(performance.now() - began).toBeLessThan(15_000);
  expect((await spared).claims).toEqual([]);
});

test('a token that was just made works everywhere, also where it was tried before', async () => {
  const holder = await tailrace.as({ roles: [Role.CLIENT] });
  expect(await refusalOf(holderOf(second.url, holder.secret))).toBeUndefined();
});

test('the same request makes one token, whose secret is told once', async () => {
  const asked = { name: 'once', requestId: 'once', roles: [Role.CLIENT] };
  const { token } = await tailrace.admin.createToken(asked);
  const { reason, metadata } = await refusal(tailrace.admin.createToken(asked));
  expect([reason, metadata['token_id']]).toEqual(['REQUEST_ID_REUSED', token?.tokenId]);
  const { tokens } = await tailrace.admin.listTokens({ pageSize: 1_000 });
  expect(tokens.filter(({ name }) => name === 'once')).toHaveLength(1);
});

test('an admin of a namespace makes, sees and revokes the tokens of it and no others', async () => {
  await tailrace.admin.putNamespace({ namespace: 'team' });
  const admin = await tailrace.as({ name: 'head', namespace: 'team', roles: [Role.ADMIN] });
  const foreign = await tailrace.as({ roles: [Role.OBSERVER] });
  const made = await admin.admin.createToken({ name: 'new', roles: [Role.WORKER, Role.WORKER, Role.ADMIN] });
  expect(made.token).toMatchObject({ namespace: 'team', roles: [Role.WORKER, Role.ADMIN], actor: 'head' });
  const names = (await admin.admin.listTokens({})).tokens.map(({ name }) => name);
  expect(names).toEqual(['head', 'new']);
  const beyond = [
    () => admin.admin.createToken({ namespace: '*', name: 'more', roles: [Role.CLIENT] }),
    () => admin.admin.createToken({ namespace: 'default', name: 'more', roles: [Role.CLIENT] }),
    () => admin.admin.listTokens({ namespace: '*' }),
    () => admin.admin.revokeToken({ namespace: '*', tokenId: foreign.tokenId }),
    () => admin.admin.putNamespace({ namespace: 'another' }),
  ];
  for (const call of beyond) expect((await refusal(call())).reason).toBe('NAMESPACE_DENIED');
  expect((await refusal(admin.admin.revokeToken({ tokenId: foreign.tokenId }))).reason).toBe('TOKEN_NOT_FOUND');
  expect(await refusalOf(foreign)).toBeUndefined();
  const all = (await tailrace.admin.listTokens({ namespace: '*', pageSize: 1_000 })).tokens;
  expect(all.map(({ namespace }) => namespace)).toEqual(expect.arrayContaining(['team', 'default', '*']));
});

test('a token is made only of a namespace that is there', async () => {
  const asked = { namespace: 'nowhere at all', name: 'lost', roles: [Role.CLIENT] };
  expect((await refusal(tailrace.admin.createToken(asked))).reason).toBe('NAMESPACE_NOT_FOUND');
});

test('only those who administer everything make a namespace by using it', async () => {
  const free = await tailrace.as({ namespace: '*', roles: [Role.CLIENT] });
  const create = (holder: Pick<Holder, 'engine'>, namespace: string) =>
    holder.engine.createExecutions({ namespace, executions: [{ type: 'new' }] });
  for (const namespace of ['unheard of', `${'long'.repeat(60)}`, 'with \0 in it']) {
    expect((await refusal(create(free, namespace))).reason).toBe('NAMESPACE_DENIED');
  }
  await create(tailrace, 'unheard of');
  await create(free, 'unheard of');
});

test('last use is told, to the minute', async () => {
  const holder = await tailrace.as({ roles: [Role.CLIENT] });
  const used = async () => {
    const { tokens } = await tailrace.admin.listTokens({ pageSize: 1_000 });
    return tokens.find(({ tokenId }) => tokenId === holder.tokenId)?.lastUsedTime;
  };
  expect(await used()).toBeUndefined();
  await Promise.all(Array.from({ length: 20 }, () => holder.whoAmI()));
  await eventually(async () => (await used()) !== undefined);
});

test('the log tells who made and revoked which tokens, to those who may see it', async () => {
  const { tokenId } = await tailrace.as({ name: 'told', roles: [Role.CLIENT] });
  await tailrace.admin.revokeToken({ tokenId, reason: 'enough' });
  const entries = [];
  const kinds = [LogEntryKind.ADMIN_TOKEN_CREATED, LogEntryKind.ADMIN_TOKEN_REVOKED];
  const asked = { namespace: '*', start: StartPosition.EARLIEST, filter: { kinds } };
  for await (const message of tailrace.completion.watchLog(asked)) {
    entries.push(...message.entries);
    if (entries.some(({ subject, kind }) => subject === tokenId && kind === LogEntryKind.ADMIN_TOKEN_REVOKED)) break;
  }
  expect(entries.filter(({ subject }) => subject === tokenId)).toMatchObject([
    { kind: kinds[0], namespace: 'default', actor: 'bootstrap' },
    { kind: kinds[1], namespace: 'default', actor: 'bootstrap', reason: 'enough' },
  ]);
  // The first one, which is bound to no namespace, is told in none.
  expect(entries[0]).toMatchObject({ kind: kinds[0], namespace: '', actor: '' });
});

test.each(['connect', 'grpc'] as const)('the client library sends its token over %s', async (transport) => {
  const holder = await tailrace.as({ name: 'library', roles: [Role.CLIENT] });
  let asked = 0;
  const token = () => {
    asked++;
    return holder.secret;
  };
  const client = new Client({ url: tailrace.url, transport, token });
  const { executionId } = await client.create({ type: 'tokened' });
  await client.cancel(executionId);
  expect(asked).toBeGreaterThanOrEqual(2);
  client.close();
  const stranger = new Client({ url: tailrace.url, transport, token: makeSecret().text });
  await expect(stranger.create({ type: 'tokened' })).rejects.toMatchObject({ reason: 'INVALID_TOKEN' });
  stranger.close();
});

test('no secret is ever in the log of the server', async () => {
  const holder = await tailrace.as({ roles: [Role.CLIENT] });
  await holder.engine.claimExecutions({ wait: seconds(0) }).catch(() => undefined);
  await holderOf(tailrace.url, `${holder.secret}x`)
    .whoAmI()
    .catch(() => undefined);
  expect(said.length).toBeGreaterThan(100);
  const secrets = [tailrace.secret, holder.secret];
  for (const secret of secrets) expect(said.filter((line) => line.includes(secret.slice(26)))).toEqual([]);
  expect(said.filter((line) => /tr_[\w-]{22}_/.test(line))).toEqual([]);
});

async function refusalOf(holder: Pick<Holder, 'whoAmI'>): Promise<string | undefined> {
  return await holder.whoAmI().then(
    () => undefined,
    async (error: unknown) => (await refusal(Promise.reject(error))).reason,
  );
}
