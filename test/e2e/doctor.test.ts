/** What doctor and a server that starts say of the database, before and after an upgrade, and when it cannot be used. */
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Diagnosis } from '../../src/cli/host.js';
import { direct } from '../../src/direct.js';
import { migrate } from '../../src/repository/migrations/index.js';
import { packageRoot, packageVersion } from '../../src/runtime/package-root.js';
import { eventually } from '../support/eventually.js';
import { emptyDatabase, freshDatabase, type TestDatabase } from '../support/postgres.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const LISTENS = 'tailrace wakes';

function examined({ url, schema }: TestDatabase, thorough = false): Promise<Diagnosis> {
  return direct({ DATABASE_URL: url, TAILRACE_SCHEMA: schema }).doctor(thorough);
}

function stateOf({ findings }: Diagnosis, name: string) {
  return findings.find((finding) => finding.name === name);
}

async function execute({ url }: TestDatabase, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(text).finally(() => client.end());
}

describe('beside a server', () => {
  let tailrace: TestTailrace;
  const logged: Record<string, unknown>[] = [];
  beforeAll(async () => {
    const logger = pino({ level: 'warn' }, { write: (line: string) => void logged.push(JSON.parse(line)) });
    tailrace = await startTailrace({ logger, environment: { TAILRACE_SECRETS_KEY: '' } });
  });
  afterAll(() => tailrace.stop());

  test('all is well but what is said to be not', async () => {
    // It begins to listen beside everything else that starts.
    await eventually(async () => (await examined(tailrace.database)).servers.some(({ name }) => name === LISTENS));
    const diagnosis = await examined(tailrace.database, true);
    expect(diagnosis.findings.filter(({ state }) => state === 'problem')).toEqual([]);
    expect(stateOf(diagnosis, 'schema')?.state).toBe('ok');
    expect(stateOf(diagnosis, 'role')?.state).toBe('ok');
    expect(stateOf(diagnosis, 'rules')?.message).toMatch(/^all \d+ rules hold$/);
    expect(diagnosis.pending).toEqual([]);
    expect(diagnosis.schema?.version).toBe(diagnosis.schema?.known);
    expect(diagnosis.servers).toContainEqual({ name: LISTENS, address: expect.any(String), connections: 1 });
    expect(diagnosis.servers.map(({ name }) => name)).toContain(`tailrace ${packageVersion()}`);
  });

  test('what will hurt is logged once and told by GetServerInfo', async () => {
    const { warnings, limits } = await tailrace.admin.getServerInfo({});
    expect(limits).toMatchObject({
      maxMessageBytes: 17n * 2n ** 20n,
      maxCallsPerSecond: 0,
      maxCallsPerConnection: 1_000,
    });
    expect(warnings.find((warning) => warning.startsWith('secrets key:'))).toMatch(
      /^secrets key: TAILRACE_SECRETS_KEY is not set; waitpoints, .*openssl rand/,
    );
    expect(logged.filter(({ name }) => name === 'secrets key')).toMatchObject([{ severity: 'warning' }]);
  });
});

test('before an upgrade it tells what is pending, with locks, and whether servers may go on', async () => {
  const database = await emptyDatabase();
  expect(stateOf(await examined(database), 'schema')).toMatchObject({ state: 'warning' });
  const earlier = await mkdtemp(join(tmpdir(), 'tailrace-earlier-'));
  const all = join(packageRoot(), 'migrations');
  for (const name of (await readdir(all)).filter((file) => file.endsWith('.sql') && file < '0046')) {
    await cp(join(all, name), join(earlier, name));
  }
  await migrate({ ...database, directory: earlier });
  const diagnosis = await examined(database);
  expect(diagnosis.schema).toMatchObject({ version: 45 });
  expect(diagnosis.pending[0]).toEqual({
    name: '0046_extend_namespaces.sql',
    locks: 'short ACCESS EXCLUSIVE on namespace and execution, without rewriting them',
    olderServers: true,
  });
  for (const { name, locks } of diagnosis.pending) expect(locks, name).not.toBe('not said');
  expect(stateOf(diagnosis, 'schema')).toMatchObject({
    state: 'warning',
    message: expect.stringMatching(/migrations are pending, and servers that run now may go on beside them/),
  });
  await rm(earlier, { recursive: true });
  await database.drop();
});

describe('a database that cannot be used', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await freshDatabase();
  });
  afterAll(() => database.drop());

  test('because its sessions would read times wrongly: no server starts, and doctor says why', async () => {
    const set = `alter role current_user in database ${database.name} `;
    await execute(database, `${set} set DateStyle = 'German'`);
    await expect(startTailrace({ database })).rejects.toThrow(
      /cannot be used as it is:\n {2}DateStyle: DateStyle is German, DMY; times are read wrongly\. alter role/,
    );
    expect(stateOf(await examined(database), 'DateStyle')).toMatchObject({
      state: 'problem',
      mend: expect.any(String),
    });
    await execute(database, `${set} reset DateStyle`);
  });

  test('because it is too new', async () => {
    await execute(
      database,
      `insert into ${database.schema}.migration values (9999, '9999_from_later.sql', 'x', false, now(), 1)`,
    );
    expect(stateOf(await examined(database), 'schema')).toMatchObject({
      state: 'problem',
      message: expect.stringMatching(/9999_from_later\.sql.*upgrade this server/),
    });
  });

  test('because it cannot be reached', async () => {
    const { findings } = await examined({ ...database, url: 'postgres://nobody@127.0.0.1:1/none' });
    expect(findings).toMatchObject([{ name: 'database', state: 'problem' }]);
  });
});
