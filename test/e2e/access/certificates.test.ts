/** Client certificates that stand for callers, and those that only let their bearer knock. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AdminService } from '../../../gen/tailrace/v1/admin_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { Role } from '../../../gen/tailrace/v1/namespace_pb.js';
import { bootstrapSecret } from '../../../src/bootstrap.js';
import { bearing } from '../../../src/client/bearing.js';
import { refusal } from '../../support/by-hand.js';
import { type Certificate, makeAuthority } from '../../support/certificates.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const authority = makeAuthority();
const RULES = [
  { subject: 'CN=worker-*', namespace: 'default', roles: ['worker'] },
  { subject: 'CN=ann', name: 'Ann', namespace: '*', roles: ['operator', 'client'] },
  { subject: 'CN=a*', namespace: '*', roles: ['observer'] },
  { subject: 'CN=team.x', namespace: 'not there yet', roles: ['client'] },
];

let directory: string;
let tailrace: TestTailrace;
let secret: string;
/** On the same database, where a certificate may be missing. */
let lenient: TestTailrace;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'tailrace-certificates-'));
  const own = authority.issue('server');
  const file = async (name: string, content: string) => {
    await writeFile(join(directory, name), content);
    return join(directory, name);
  };
  const environment = {
    TAILRACE_AUTHENTICATION: 'required',
    TAILRACE_TLS_CERT: await file('cert.pem', own.cert),
    TAILRACE_TLS_KEY: await file('key.pem', own.key),
    TAILRACE_TLS_CLIENT_CA: await file('ca.pem', authority.cert),
    TAILRACE_CLIENT_ROLES_FILE: await file('roles.json', JSON.stringify(RULES)),
  };
  tailrace = await startTailrace({ environment });
  secret = (await bootstrapSecret(tailrace.running.engine.database)) ?? '';
  lenient = await startTailrace({
    database: tailrace.database,
    environment: { ...environment, TAILRACE_TLS_CLIENT_CERT: 'optional' },
  });
});
afterAll(async () => {
  await lenient.stop();
  await tailrace.stop();
  await rm(directory, { recursive: true });
});

type Over = 'connect1' | 'connect2' | 'grpc';

function adminOver(url: string, over: Over, presented?: Certificate, token?: string) {
  const nodeOptions = { ca: authority.cert, ...presented };
  const plain =
    over === 'grpc'
      ? createGrpcTransport({ baseUrl: url, nodeOptions })
      : createConnectTransport({ baseUrl: url, nodeOptions, httpVersion: over === 'connect1' ? '1.1' : '2' });
  return createClient(AdminService, token === undefined ? plain : bearing(plain, token));
}

describe.each(['connect1', 'connect2', 'grpc'] as const)('over %s', (over) => {
  const callerAs = async (commonName: string, token?: string) =>
    (await adminOver(tailrace.url, over, authority.issue(commonName), token).getServerInfo({})).caller;

  test('a certificate stands for what the first rule says that names it', async () => {
    expect(await callerAs('worker-7')).toMatchObject({ name: 'worker-7', namespace: 'default', roles: [Role.WORKER] });
    expect(await callerAs('ann')).toMatchObject({ name: 'Ann', namespace: '*', roles: [Role.OPERATOR, Role.CLIENT] });
    expect(await callerAs('andy')).toMatchObject({ name: 'andy', roles: [Role.OBSERVER], tokenId: '' });
  });

  test('one that no rule names is worth what the token is that comes with it', async () => {
    expect((await refusal(callerAs('bob'))).reason).toBe('INVALID_TOKEN');
    expect(await callerAs('bob', secret)).toMatchObject({ name: 'bootstrap', roles: [Role.ADMIN] });
    expect(await callerAs('ann', secret)).toMatchObject({ name: 'bootstrap' });
    expect((await refusal(callerAs('ann', 'tr_'))).reason).toBe('INVALID_TOKEN');
  });

  test('where it may be missing, a token alone is enough, and one of strangers is worse than none', async () => {
    const { url } = lenient;
    expect((await adminOver(url, over, undefined, secret).getServerInfo({})).caller?.name).toBe('bootstrap');
    expect((await refusal(adminOver(url, over).getServerInfo({}))).reason).toBe('INVALID_TOKEN');
    expect((await adminOver(url, over, authority.issue('ann')).getServerInfo({})).caller?.name).toBe('Ann');
    const strange = makeAuthority('Strange Authority').issue('ann');
    // The connection ends; nothing of this server's answers.
    const error = await adminOver(url, over, strange, secret)
      .getServerInfo({})
      .then(() => undefined, ConnectError.from);
    expect(error?.findDetails(ErrorDetailSchema)).toEqual([]);
  });
});

test('a rule gives no rights in a namespace that is not there', async () => {
  const team = () => adminOver(tailrace.url, 'connect2', authority.issue('team.x'));
  expect((await refusal(team().getServerInfo({}))).reason).toBe('NAMESPACE_DENIED');
  await adminOver(tailrace.url, 'connect2', authority.issue('x'), secret).putNamespace({ namespace: 'there' });
  expect((await refusal(team().getServerInfo({ namespace: 'there' }))).reason).toBe('NAMESPACE_DENIED');
});

test('where it is required, nobody connects without', async () => {
  await expect(adminOver(tailrace.url, 'connect2', undefined, secret).getServerInfo({})).rejects.toThrow();
});
