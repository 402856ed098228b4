/**
 * A database per test file: a clone of the migrated template, some tens of milliseconds each.
 *
 * drop() fails when the file left connections open. On a server that outlives the run the database of a file with
 * a failed test is kept, and named.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import { applyRoleSettings } from '../../src/repository/migrations/index.js';
import { pause } from '../../src/runtime/clock.js';

export interface TestDatabase {
  readonly url: string;
  readonly schema: string;
  readonly name: string;
  drop(): Promise<void>;
}

/** Whether a test of this file has failed: told by kept-databases.ts, before each file. */
export const file = { failed: false };

/** A migrated database with the settings of the role. */
export async function freshDatabase(): Promise<TestDatabase> {
  const database = await create(inject('postgres').template);
  await applyRoleSettings(database.url);
  return database;
}

/** What a backup of it would restore. Nobody may be connected to it. */
export async function copyOf(database: TestDatabase): Promise<TestDatabase> {
  const copy = await create(database.name);
  await applyRoleSettings(copy.url);
  return copy;
}

/** A database with nothing in it, for tests of the migrations themselves. */
export async function emptyDatabase(): Promise<TestDatabase> {
  return await create('template0');
}

async function create(template: string): Promise<TestDatabase> {
  const server = inject('postgres');
  const name = `tailrace_test_${randomBytes(6).toString('hex')}`;
  await administer((client) => client.query(`create database ${name} template ${template}`));
  const url = new URL(server.url);
  url.pathname = name;
  return { url: url.href, schema: server.schema, name, drop: async () => await drop(name) };
}

async function drop(name: string): Promise<void> {
  if (file.failed && inject('postgres').outlives) {
    console.warn(`a test failed: its database ${name} is kept`);
    return;
  }
  await administer(async (client) => {
    const open = await leftOpen(client, name);
    await client.query(`drop database ${name} with (force)`);
    if (open.length > 0) throw new Error(`connections were left open:\n${open.join('\n')}`);
  });
}

/** A closed connection takes a moment to disappear from the list. */
async function leftOpen(client: pg.Client, name: string): Promise<string[]> {
  let open: string[] = [];
  for (let tries = 0; tries < 400; tries++) {
    const { rows } = await client.query<{ shown: string }>(
      `select format('%s: %s', application_name, query) as shown from pg_stat_activity
       where datname = $1 and backend_type = 'client backend'`,
      [name],
    );
    open = rows.map((row) => row.shown);
    if (open.length === 0) break;
    await pause(25);
  }
  return open;
}

async function administer<T>(body: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: inject('postgres').url });
  await client.connect();
  try {
    return await body(client);
  } finally {
    await client.end();
  }
}
