/** What is badly set or held open on a real Postgres is found, named, and said how to mend. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Finding, judge, readFacts, type Setup } from '../../src/guards/index.js';
import { Database } from '../../src/repository/database.js';
import { findPooler } from '../../src/repository/guards/index.js';
import { migrate } from '../../src/repository/migrations/index.js';
import { PoolingProxy } from '../support/pooling-proxy.js';
import { RestartablePostgres } from '../support/restartable-postgres.js';

const SETUP: Setup = {
  poolConnections: 10,
  clientConnections: 1,
  partitionMs: 7 * 86_400_000,
  anonymous: false,
  loopback: true,
  secretsKey: true,
  certificate: undefined,
  dataDirectory: undefined,
};

let postgres: RestartablePostgres;
let database: Database;
let client: pg.Client;

beforeAll(async () => {
  postgres = await RestartablePostgres.make({
    max_connections: '25',
    max_locks_per_transaction: '10',
    max_prepared_transactions: '2',
    max_wal_senders: '2',
    full_page_writes: 'off',
    autovacuum: 'off',
    track_counts: 'off',
  });
  await migrate(postgres.database);
  database = new Database({ ...postgres.database, connections: 2 });
  client = new pg.Client({ connectionString: postgres.database.url });
  await client.connect();
}, 60_000);
afterAll(async () => {
  await database.close();
  await client.end();
  await postgres.database.drop();
});

async function found(setup: Partial<Setup> = {}): Promise<Map<string, Finding>> {
  const fresh = new Database({ ...postgres.database, connections: 1 });
  try {
    const facts = await readFacts({
      runner: fresh,
      setup: { ...SETUP, ...setup },
      pooler: { kind: undefined, refusal: undefined },
    });
    return new Map(judge(facts).map((finding) => [finding.name, finding]));
  } finally {
    await fresh.close();
  }
}

test('a server as it should not be set, finding by finding', async () => {
  const named = await found({ poolConnections: 40 });
  for (const finding of named.values()) expect(finding.severity).not.toBe('error');
  for (const name of ['fsync', 'full_page_writes', 'autovacuum', 'track_counts']) {
    expect(named.get(name)?.mend).toBe(`alter system set ${name} = on; select pg_reload_conf();`);
  }
  expect(named.get('max_connections')).toMatchObject({
    now: expect.stringMatching(/^max_connections is 25, 3 of them kept for superusers; 1 servers need 41 each/),
    mend: expect.stringMatching(/^alter system set max_connections = 128; then restart/),
  });
  expect(named.get('max_locks_per_transaction')).toMatchObject({
    now: expect.stringMatching(
      /^max_locks_per_transaction is 10, 270 locks in all; 40 connections over \d+ partitions/,
    ),
    mend: expect.stringMatching(/^alter system set max_locks_per_transaction = \d+; then restart/),
  });
});

test('what it says of locks is so: one read by id locks every partition of its tables', async () => {
  const { rows } = await client.query<{ partitions: number }>(
    `select count(*)::int as partitions from pg_inherits where inhparent = 'tailrace.execution'::regclass`,
  );
  await client.query('begin');
  await client.query('prepare by_id as select * from tailrace.execution where id = $1');
  await client.query("execute by_id('01900000-0000-7000-8000-000000000000')");
  const locked = await client.query<{ count: number }>(
    `select count(*)::int as count from pg_locks l join pg_inherits i on i.inhrelid = l.relation
     where l.pid = pg_backend_pid() and i.inhparent = 'tailrace.execution'::regclass`,
  );
  await client.query('rollback');
  expect(locked.rows[0]?.count).toBe(rows[0]?.partitions);
});

test('what is held open is found once it is old', async () => {
  await client.query("select pg_create_physical_replication_slot('nobody', true)");
  const open = new pg.Client({ connectionString: postgres.database.url, application_name: 'forgotten' });
  await open.connect();
  await open.query('begin isolation level repeatable read');
  await open.query('select 1');
  const other = new pg.Client({ connectionString: postgres.database.url });
  await other.connect();
  await other.query("begin; create table tailrace.odd (x int); prepare transaction 'odd one'");
  const facts = await readFacts({
    runner: database,
    setup: SETUP,
    pooler: { kind: undefined, refusal: undefined },
  });
  expect(facts.sessions.oldest).toMatchObject({ name: 'forgotten' });
  expect(facts.held.prepared).toEqual([{ gid: 'odd one', seconds: expect.any(Number) }]);
  expect(facts.held.slots).toEqual([
    { name: 'nobody', active: false, state: expect.any(String), bytes: expect.any(Number) },
  ]);
  const aged = structuredClone({ ...facts, relations: { ...facts.relations } }) as Mutable<typeof facts>;
  if (aged.sessions.oldest) aged.sessions.oldest.seconds = 7_200;
  for (const one of [...aged.held.prepared]) one.seconds = 90_000;
  for (const one of [...aged.held.slots]) one.bytes = 5 * 2 ** 30;
  const named = new Map(judge(aged as unknown as typeof facts).map((finding) => [finding.name, finding]));
  expect(named.get('old transaction')?.mend).toMatch(/select pg_terminate_backend\(\d+\);/);
  expect(named.get('prepared transaction')?.mend).toMatch(/^rollback prepared 'odd one';/);
  expect(named.get('replication slot')?.now).toBe('nobody reads slot nobody, which keeps 5.0 GiB');
  await other.query("rollback prepared 'odd one'");
  await client.query("select pg_drop_replication_slot('nobody')");
  await Promise.all([open.end(), other.end()]);
});

type Mutable<T> = T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> } : T;

test('a standby that every commit waits for and that is not there', async () => {
  await client.query("alter system set synchronous_standby_names = 'away'");
  await client.query('select pg_reload_conf()');
  await expect.poll(async () => (await found()).get('synchronous_standby_names')?.now).toMatch(/'away'/);
  await client.query('alter system reset synchronous_standby_names');
  await client.query('select pg_reload_conf()');
  await expect.poll(async () => (await found()).has('synchronous_standby_names')).toBe(false);
});

describe('settings of the role', () => {
  const cases: readonly [string, string, Finding['severity']][] = [
    ['default_transaction_read_only', 'on', 'error'],
    ['session_replication_role', 'replica', 'error'],
    ['DateStyle', "'German'", 'error'],
    ['TimeZone', "'Europe/Berlin'", 'note'],
    ['statement_timeout', "'4900ms'", 'warning'],
    ['statement_timeout', "'60s'", 'warning'],
    ['idle_session_timeout', "'10s'", 'warning'],
  ];
  test.each(cases)('%s = %s is a finding', async (name, value, severity) => {
    expect((await found()).has(name)).toBe(false);
    await client.query(`alter role postgres in database postgres set ${name} = ${value}`);
    try {
      expect((await found()).get(name)?.severity).toBe(severity);
    } finally {
      await client.query('set default_transaction_read_only = off');
      const back = name === 'statement_timeout' ? "set statement_timeout = '30s'" : `reset ${name}`;
      await client.query(`alter role postgres in database postgres ${back}`);
    }
  });
});

describe('a pooler', () => {
  let proxy: PoolingProxy | undefined;
  afterEach(() => proxy?.close());

  test('there is none', async () => {
    expect(await findPooler(postgres.database.url)).toEqual({ kind: undefined, refusal: undefined });
  });

  test('one by transaction that does not know prepared statements is an error', async () => {
    proxy = await PoolingProxy.start(postgres.database.url);
    const pooler = await findPooler(proxy.url);
    expect(pooler).toEqual({ kind: 'transaction', refusal: expect.stringMatching(/prepared statement/) });
    const facts = await readFacts({ runner: database, setup: SETUP, pooler });
    expect(judge(facts)[0]).toMatchObject({ name: 'pooler', severity: 'error', mend: expect.stringMatching(/1\.21/) });
  });

  test('one by session is none of our business', async () => {
    proxy = await PoolingProxy.start(postgres.database.url, { bySession: true });
    expect(await findPooler(proxy.url)).toEqual({ kind: 'session', refusal: undefined });
  });
});
