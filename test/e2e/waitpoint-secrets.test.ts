/** Secrets behind waitpoint tokens: rotated on one server and noticed on all, sealed with a key, never told. */

import { randomBytes } from 'node:crypto';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import pg from 'pg';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { SignalEffect, SignalSource } from '../../gen/tailrace/v1/signal_pb.js';
import { refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { HeldExecution } from '../support/held-execution.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let database: TestDatabase;
let here: TestTailrace;
let there: TestTailrace;
const said: string[] = [];
beforeAll(async () => {
  database = await freshDatabase();
  const logger = pino({ level: 'trace' }, { write: (line) => said.push(line) });
  // As many signals of one waitpoint as a fast machine sends within a grace.
  const environment = { TAILRACE_MAX_EARLY_SIGNALS: '100000', TAILRACE_MAX_SIGNALS: '100000' };
  const start = () => startTailrace({ database, logger, environment });
  [here, there] = await Promise.all([start(), start()]);
});
afterAll(async () => {
  await Promise.all([here.stop(), there.stop()]);
  await database.drop();
});

function signal(clients: TestTailrace, namespace: string, token: string) {
  const target = { case: 'waitpointToken' as const, value: token };
  return clients.engine.signalExecution({ namespace, target, name: 'go' });
}

async function isTaken(clients: TestTailrace, namespace: string, token: string): Promise<boolean> {
  try {
    return (await signal(clients, namespace, token)).effect === SignalEffect.BUFFERED;
  } catch (error) {
    expect((await refusal(Promise.reject(error))).reason).toBe('INVALID_WAITPOINT_TOKEN');
    return false;
  }
}

async function everywhere(namespace: string, token: string): Promise<boolean[]> {
  return await Promise.all([here, there].map((server) => isTaken(server, namespace, token)));
}

describe('a rotation on one server', () => {
  test('lets tokens made before live for the grace, by the clock of the database, on every server', async () => {
    const namespace = 'graceful';
    const held = await HeldExecution.make(here, namespace);
    const token = await held.token('door');
    expect(await everywhere(namespace, token)).toEqual([true, true]);
    const rotated = await here.admin.rotateWaitpointSecret({ namespace, grace: seconds(3), reason: 'it is spring' });
    expect(Number(rotated.keyId)).toBeGreaterThan(Number(rotated.previousKeyId));
    const end = rotated.previousExpireTime && timestampDate(rotated.previousExpireTime);
    const now = async () => {
      const { serverTime } = await here.admin.getServerInfo({});
      return serverTime ? timestampDate(serverTime).getTime() : Number.NaN;
    };
    for (const server of [here, there]) {
      for (let taken = true; taken; ) {
        const before = await now();
        taken = await isTaken(server, namespace, token);
        const after = await now();
        // Whenever the answer was decided, it was decided between the two.
        if (taken) expect(before).toBeLessThanOrEqual(end?.getTime() ?? 0);
        else expect(after).toBeGreaterThanOrEqual(end?.getTime() ?? 0);
      }
    }
    // What is made now is good, and whoever asks again for the old one gets a token that is.
    const fresh = await held.token('window');
    expect(await everywhere(namespace, fresh)).toEqual([true, true]);
    const again = await held.token('door');
    expect(again).not.toBe(token);
    expect(await everywhere(namespace, again)).toEqual([true, true]);
    expect(await held.token('door')).toBe(again);
    expect(await everywhere(namespace, token)).toEqual([false, false]);
  });

  test('without a grace ends them at once, on the other server, too', async () => {
    const namespace = 'strict';
    const held = await HeldExecution.make(there, namespace);
    for (let round = 0; round < 5; round++) {
      const token = await held.token(`door ${round}`);
      expect(await everywhere(namespace, token)).toEqual([true, true]);
      const [rotating, other] = round % 2 === 0 ? [here, there] : [there, here];
      await rotating.admin.rotateWaitpointSecret({ namespace, grace: seconds(0) });
      expect(await isTaken(other, namespace, token)).toBe(false);
      expect(await isTaken(rotating, namespace, token)).toBe(false);
    }
  });

  test('ends those of older secrets at once, whatever grace they had been given', async () => {
    const namespace = 'layered';
    const held = await HeldExecution.make(here, namespace);
    const tokens: string[] = [];
    for (const key of ['a', 'b', 'c']) {
      tokens.push(await held.token(key));
      await there.admin.rotateWaitpointSecret({ namespace, grace: seconds(3_600) });
    }
    const taken = await Promise.all(tokens.map((token) => everywhere(namespace, token)));
    expect(taken).toEqual([
      [false, false],
      [false, false],
      [true, true],
    ]);
  });

  test('is met by what the other server makes right after', async () => {
    const namespace = 'alternating';
    const mine = await HeldExecution.make(here, namespace);
    for (let round = 0; round < 10; round++) {
      await here.admin.rotateWaitpointSecret({ namespace, grace: seconds(0) });
      const theirs = await HeldExecution.make(there, namespace);
      expect(await everywhere(namespace, await theirs.token('door'))).toEqual([true, true]);
      expect(await everywhere(namespace, await mine.token(`door ${round}`))).toEqual([true, true]);
    }
  });

  test('happens one after the other when many ask, and is logged with who comes after whom', async () => {
    const namespace = 'busy';
    const rotate = (server: TestTailrace) => server.admin.rotateWaitpointSecret({ namespace, reason: 'a drill' });
    const rotated = await Promise.all(Array.from({ length: 10 }, (_, i) => rotate(i % 2 === 0 ? here : there)));
    const pairs = rotated.map(({ keyId, previousKeyId }) => [previousKeyId, keyId]);
    // A chain from nothing: each replaces what another one made.
    const after = new Map(pairs.map(([previous = '', made = '']) => [previous, made]));
    const chain: string[] = [];
    for (let id = after.get(''); id !== undefined; id = after.get(id)) chain.push(id);
    expect(chain).toHaveLength(10);
    const filter = { kinds: [LogEntryKind.ADMIN_SECRET_ROTATED] };
    const list = async () => (await here.admin.listLogEntries({ namespace, filter, pageSize: 100 })).entries;
    // The last of them have no place in the log yet.
    await eventually(async () => (await list()).length === 10);
    const entries = await list();
    expect(entries[0]).toMatchObject({ subject: namespace, reason: 'a drill' });
    const logged = entries.map(({ body }) => (body.case === 'details' ? body.value['key_id'] : ''));
    expect(new Set(logged)).toEqual(new Set(chain));
  });

  test('by many that use a new namespace at once leaves them one secret', async () => {
    for (let round = 0; round < 5; round++) {
      const namespace = `new ${round}`;
      const held = await Promise.all([here, there, here, there].map((server) => HeldExecution.make(server, namespace)));
      const tokens = await Promise.all(held.map((execution) => execution.token('door')));
      const taken = await Promise.all(tokens.map((token) => everywhere(namespace, token)));
      expect(taken.flat()).not.toContain(false);
      expect(await secretsOf(namespace)).toHaveLength(1);
    }
  });

  test.each([-1, 30 * 86_400 + 1])('with a grace of %s s is refused', async (grace) => {
    const refused = await refusal(here.admin.rotateWaitpointSecret({ grace: seconds(grace) }));
    expect(refused.fieldViolations).toMatchObject([{ field: 'grace' }]);
  });
});

describe('a server', () => {
  const start = (key: string, log: string[]) =>
    startTailrace({
      database,
      environment: { TAILRACE_SECRETS_KEY: key },
      logger: pino({ level: 'warn' }, { write: (line) => log.push(line) }),
    });

  test('with another key refuses what needs a secret, says so once, and does everything else', async () => {
    const namespace = 'sealed';
    const token = await (await HeldExecution.make(here, namespace)).token('door');
    const log: string[] = [];
    const other = await start(randomBytes(32).toString('base64'), log);
    try {
      const held = await HeldExecution.make(other, namespace);
      const calls = [
        () => held.waitpoint('door'),
        () => held.suspend('go', 'door', { waitpoints: [{ key: 'door' }] }),
        () => signal(other, namespace, token),
      ];
      for (const call of calls) {
        const detail = await refusal(call());
        expect(detail.reason).toBe('SECRETS_UNAVAILABLE');
        expect(detail.metadata['why']).toBe('other_key');
      }
      expect(log.filter((line) => line.includes('"level":50'))).toHaveLength(1);
      expect(log.join()).toMatch(/sealed with another key.*TAILRACE_SECRETS_KEY/);
      expect((await held.suspend('go')).suspended).toBe(true);
      await resume(other, namespace, held);
      expect(await isTaken(here, namespace, token)).toBe(true);

      // Where the key is lost, a rotation is the way on; those who have the right one go on with it, too.
      await other.admin.rotateWaitpointSecret({ namespace });
      const fresh = await held.token('window');
      expect(await isTaken(other, namespace, fresh)).toBe(true);
      expect((await refusal(signal(here, namespace, fresh))).reason).toBe('SECRETS_UNAVAILABLE');
    } finally {
      await other.stop();
    }
  });

  test('without a key refuses every token alike and says what to set, and does everything else', async () => {
    const namespace = 'keyless';
    const token = await (await HeldExecution.make(here, namespace)).token('door');
    const log: string[] = [];
    const other = await start('', log);
    try {
      const held = await HeldExecution.make(other, namespace);
      const refused = [
        held.waitpoint('door'),
        held.suspend('go', 'door', { waitpoints: [{ key: 'door' }] }),
        other.admin.rotateWaitpointSecret({ namespace: 'never used' }),
        ...[token, 'garbage', ''].map((text) => signal(other, namespace, text)),
      ];
      const details = await Promise.all(refused.map((call) => refusal(call)));
      expect(new Set(details.map(({ reason }) => reason))).toEqual(new Set(['SECRETS_UNAVAILABLE']));
      await expect(signal(other, namespace, token)).rejects.toThrow(
        /set TAILRACE_SECRETS_KEY to 32 random bytes in base64/,
      );
      const warned = async ({ admin }: Pick<TestTailrace, 'admin'>) =>
        (await admin.getServerInfo({})).warnings.filter((warning) => /TAILRACE_SECRETS_KEY/.test(warning));
      expect(await warned(other)).toHaveLength(1);
      expect(await warned(here)).toEqual([]);
      expect((await held.suspend('go')).suspended).toBe(true);
      await resume(other, namespace, held);
    } finally {
      await other.stop();
    }
  });

  test('that finds a secret damaged says so', async () => {
    const namespace = 'damaged';
    const held = await HeldExecution.make(here, namespace);
    await held.token('door');
    await run(
      `update ${database.schema}.waitpoint_secret s set sealed = set_byte(s.sealed, 40, 255 - get_byte(s.sealed, 40))
       from ${database.schema}.namespace n where n.id = s.namespace and n.name = $1`,
      [namespace],
    );
    const log: string[] = [];
    const other = await startTailrace({
      database,
      logger: pino({ level: 'warn' }, { write: (line) => log.push(line) }),
    });
    try {
      const refused = await refusal((await HeldExecution.make(other, namespace)).waitpoint('door'));
      expect(refused).toMatchObject({ reason: 'SECRETS_UNAVAILABLE', metadata: { why: 'damaged' } });
      expect(log.filter((line) => line.includes('"level":50'))).toEqual([
        expect.stringMatching(/is damaged in the database/),
      ]);
    } finally {
      await other.stop();
    }
  });

  /** By authority over the execution, which needs no token. */
  async function resume(server: TestTailrace, namespace: string, held: HeldExecution): Promise<void> {
    const target = { case: 'execution' as const, value: { executionId: held.id } };
    const { effect } = await server.engine.signalExecution({
      namespace,
      target,
      name: 'go',
      source: SignalSource.HUMAN,
    });
    expect(effect).toBe(SignalEffect.SATISFIED);
    await held.claimAgain();
  }
});

test('tokens and secrets are told to the holder alone: no list, log or message has them', async () => {
  const namespace = 'discreet';
  const held = await HeldExecution.make(here, namespace);
  const token = await held.token('door');
  await held.suspend('go', 'door');
  await signal(here, namespace, `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`).catch(() => undefined);
  const looks: Promise<unknown>[] = [
    here.admin.listPendingWaitpoints({ namespace }),
    here.admin.listSuspendedExecutions({ namespace }),
    here.admin.getExecution({ namespace, executionId: held.id }),
    here.admin.explainExecution({ namespace, executionId: held.id }),
    here.admin.listLogEntries({ namespace }),
    here.admin.rotateWaitpointSecret({ namespace }),
    refusal(
      here.engine.signalExecution({ namespace, target: { case: 'waitpointToken', value: `${token}A` }, name: 'go' }),
    ),
  ];
  const shown = JSON.stringify(await Promise.all(looks), (_, value) =>
    typeof value === 'bigint' ? `${value}` : value,
  );
  expect(shown).toContain('door');
  const secret = token.slice(28, 60); // the first bytes of the HMAC
  expect(shown).not.toContain(secret);
  expect(said.join('\n')).not.toContain(secret);
  const stored = await run<{ found: string }>(
    `select w::text as found from ${database.schema}.waitpoint w where w.execution = $1
     union all select l::text from ${database.schema}.log l`,
    [held.id],
  );
  expect(stored.map(({ found }) => found).join()).not.toContain(secret);
});

async function secretsOf(namespace: string) {
  const { schema } = database;
  return await run(
    `select s.id from ${schema}.waitpoint_secret s join ${schema}.namespace n on n.id = s.namespace where n.name = $1`,
    [namespace],
  );
}

async function run<R extends object>(sql: string, values: readonly unknown[]): Promise<R[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query<R>(sql, [...values])).rows;
  } finally {
    await client.end();
  }
}
