import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkRoleSettings, checkSchema, migrate } from '../../src/repository/migrations/index.js';
import { emptyDatabase, type TestDatabase } from '../support/postgres.js';

const HEADER = '-- A test.\n-- older-servers: refused\n';
const FIRST = `${HEADER}create table {schema}.thing (id int primary key);\n`;

let database: TestDatabase;
let directory: string;

beforeEach(async () => {
  database = await emptyDatabase();
  directory = await mkdtemp(join(tmpdir(), 'migrations-'));
  await write('0001_create_thing.sql', FIRST);
});

afterEach(async () => {
  await rm(directory, { recursive: true });
  await database.drop();
});

describe('migrate', () => {
  it('applies each file once and records it', async () => {
    expect(await apply()).toEqual(['0001_create_thing.sql']);
    await write('0002_fill_thing.sql', `${HEADER}insert into {schema}.thing values (1);\n`);
    expect(await apply()).toEqual(['0002_fill_thing.sql']);
    expect(await apply()).toEqual([]);
    expect(await rows('select version, name, length(sha256) as sum, older_servers from tailrace.migration')).toEqual([
      { version: 1, name: '0001_create_thing.sql', sum: 64, older_servers: false },
      { version: 2, name: '0002_fill_thing.sql', sum: 64, older_servers: false },
    ]);
    expect(await rows('select id from tailrace.thing')).toEqual([{ id: 1 }]);
  });

  it('is safe for twenty at once, also where two installations share the database', async () => {
    await write('0002_fill_thing.sql', `${HEADER}insert into {schema}.thing values (1);\n`);
    await write(
      '0003_index_thing.sql',
      '-- older-servers: allowed\n-- migrate: no-transaction\n' +
        'drop index concurrently if exists {schema}.thing_index;\n-- migrate: next\n' +
        'create index concurrently thing_index on {schema}.thing (id);\n',
    );
    const runs = Array.from({ length: 20 }, (_, n) => apply({ schema: n % 4 === 0 ? 'other' : 'tailrace' }));
    const applied = (await Promise.all(runs)).map((names) => names.length);
    expect(applied.filter((count) => count > 0)).toEqual([3, 3]);
    expect(
      await rows('select (select count(*)::int from tailrace.thing) + count(*)::int as n from other.thing'),
    ).toEqual([{ n: 2 }]);
    await checkRoleSettings(database.url);
  });

  it('leaves nothing of a file that fails, and names it', async () => {
    await write('0002_break.sql', `${HEADER}create table {schema}.half (id int);\nselect 1 / 0;\n`);
    await expect(apply()).rejects.toThrow(/0002_break\.sql: division by zero/);
    expect(await rows("select to_regclass('tailrace.half') is null as gone")).toEqual([{ gone: true }]);
    expect(await rows('select max(version) as version from tailrace.migration')).toEqual([{ version: 1 }]);
  });

  it('refuses a changed file and a newer schema, and changes nothing then', async () => {
    await apply();
    await write('0002_more.sql', `${HEADER}create table {schema}.more (id int);\n`);
    await write('0001_create_thing.sql', `${FIRST}-- changed\n`);
    await expect(apply()).rejects.toThrow(/0001_create_thing\.sql was changed/);
    expect(await rows("select to_regclass('tailrace.more') is null as untouched")).toEqual([{ untouched: true }]);

    await write('0001_create_thing.sql', FIRST.replaceAll('\n', '\r\n'));
    await apply();
    await rm(join(directory, '0002_more.sql'));
    await expect(apply()).rejects.toMatchObject({ reason: 'SCHEMA_TOO_NEW', metadata: { migration: '0002_more.sql' } });
    await execute('update tailrace.migration set older_servers = true where version = 2');
    expect(await apply()).toEqual([]);
  });

  it('waits its turn for a table that others use, without making them wait for long', async () => {
    await apply();
    await write('0002_alter_thing.sql', `${HEADER}alter table {schema}.thing add column name text;\n`);
    const reader = new pg.Client({ connectionString: database.url });
    await reader.connect();
    await reader.query('begin; select * from tailrace.thing');
    const applied = apply();
    // This one would queue up behind the waiting ALTER TABLE for as long as the reader stays.
    const waiting = `select 1 from pg_locks l join pg_database d on d.oid = l.database
      where not l.granted and d.datname = current_database()`;
    await until(async () => (await rows(waiting)).length > 0);
    await execute("set lock_timeout = '20s'; select * from tailrace.thing");
    await reader.end();
    expect(await applied).toEqual(['0002_alter_thing.sql']);
  });

  it('stops waiting for another process when told to', async () => {
    const other = new pg.Client({ connectionString: database.url });
    await other.connect();
    await other.query("select pg_advisory_lock(hashtextextended('tailrace.migrate.tailrace', 0))");
    const stop = new AbortController();
    await expect(apply({ signal: stop.signal, onWait: () => stop.abort() })).rejects.toThrow(/stopped while/);
    await other.end();
  });
});

describe('checkSchema', () => {
  it('names what is missing and changes nothing', async () => {
    const check = () => checkSchema({ url: database.url, schema: 'tailrace', directory });
    await expect(check()).rejects.toThrow(/lacks 0001_create_thing\.sql: run `tailrace migrate`/);
    expect(await rows("select to_regnamespace('tailrace') is null as absent")).toEqual([{ absent: true }]);
    await apply();
    await check();
  });
});

describe('the settings of the role', () => {
  it('are refused with the statements that set them, which then work when pasted', async () => {
    const refused = await checkRoleSettings(database.url).catch((error: Error) => error.message);
    expect(refused).toMatch(/plan_cache_mode is auto, not force_generic_plan/);
    const pasted = String(refused).match(/alter role .*;/g) ?? [];
    expect(pasted.length).toBeGreaterThanOrEqual(6);
    for (const text of pasted) await execute(text);
    await checkRoleSettings(database.url);
  });

  it('are set by migrate for a role without special rights', async () => {
    const role = `plain_${database.name}`;
    await execute(`create role ${role} login password 'x'; grant create on database ${database.name} to ${role}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = 'x';
    await migrate({ url: url.href, schema: 'tailrace', directory });
    await checkRoleSettings(url.href);
    await execute(`drop owned by ${role}; drop role ${role}`);
  });
});

async function apply(options: { schema?: string; signal?: AbortSignal; onWait?: () => void } = {}): Promise<string[]> {
  return await migrate({ url: database.url, schema: 'tailrace', directory, ...options });
}

async function write(name: string, content: string): Promise<void> {
  await writeFile(join(directory, name), content);
}

async function execute(sql: string): Promise<void> {
  await rows(sql);
}

async function rows(sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Asks again at once: each look is a conversation with the database, and takes its time. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}
