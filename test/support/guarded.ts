/** A server that lets nobody in without a token, the first token, and others made with it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Caller, Role } from '../../gen/tailrace/v1/namespace_pb.js';
import { makeSecret } from '../../src/services/authentication/index.js';
import { seconds } from './by-hand.js';
import { type Clients, clientsOf, startTailrace, type TestTailrace, type TestTailraceOptions } from './tailrace.js';

export const ROLES = [Role.CLIENT, Role.WORKER, Role.OBSERVER, Role.OPERATOR, Role.ADMIN] as const;

export interface Guarded extends TestTailrace {
  /** Secret of the first token, which may do everything; the clients here send it. */
  readonly secret: string;
  /** Clients with a new token. */
  as(given: GivenToken): Promise<Holder>;
}

export interface GivenToken {
  readonly name?: string;
  readonly namespace?: string;
  readonly roles: readonly Role[];
  readonly expirySeconds?: number;
}

export interface Holder extends Clients {
  readonly secret: string;
  readonly tokenId: string;
  readonly headers: { readonly authorization: string };
  whoAmI(): Promise<Caller | undefined>;
}

export async function startGuarded(options: TestTailraceOptions = {}): Promise<Guarded> {
  const directory = await mkdtemp(join(tmpdir(), 'tailrace-guarded-'));
  const { text: secret } = makeSecret();
  await writeFile(join(directory, 'token'), secret, { mode: 0o600 });
  const environment = {
    TAILRACE_AUTHENTICATION: 'required',
    TAILRACE_BOOTSTRAP_TOKEN_FILE: join(directory, 'token'),
    ...options.environment,
  };
  const tailrace = await startTailrace({ ...options, environment });
  const clients = clientsOf(tailrace.url, secret);
  return {
    ...tailrace,
    ...clients,
    secret,
    async as({ name = 'somebody', namespace = 'default', roles, expirySeconds }) {
      const expiry = expirySeconds === undefined ? {} : { expiry: seconds(expirySeconds) };
      const made = await clients.admin.createToken({ name, namespace, roles: [...roles], ...expiry });
      return holderOf(tailrace.url, made.secret, made.token?.tokenId);
    },
    async stop() {
      await tailrace.stop();
      await rm(directory, { recursive: true });
    },
  };
}

export function holderOf(url: string, secret: string, tokenId = ''): Holder {
  const clients = clientsOf(url, secret);
  return {
    ...clients,
    secret,
    tokenId,
    headers: { authorization: `Bearer ${secret}` },
    whoAmI: async () => (await clients.admin.getServerInfo({})).caller,
  };
}
