/**
 * Before the first test of a level that needs Postgres: a server, and in it a migrated template database.
 *
 * Levels on the same version share one server. vitest loads this module once per level, but in one process:
 * hence the table on globalThis.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../src/repository/migrations/index.js';
import { compiledTo, removeCompiled } from './compiled.js';
import { postgres15, startPostgres15, startTestServer, type TestServer } from './postgres-server.js';

const SCHEMA = 'tailrace';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Address of the maintenance database, the template and its schema, and whether the server outlives the run. */
    postgres: { url: string; template: string; schema: string; outlives: boolean };
  }
}

interface Prepared {
  readonly server: TestServer;
  readonly template: string;
  users: number;
}

const shared = globalThis as { tailraceServers?: Map<string, Promise<Prepared>> };
shared.tailraceServers ??= new Map();
const prepared = shared.tailraceServers;
const compiled = compiledTo();

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const version = project.name.endsWith('-pg15') ? '15' : 'newest';
  const made = prepared.get(version) ?? prepare(version);
  prepared.set(version, made);
  const { server, template } = await made;
  (await made).users++;
  project.provide('postgres', { url: server.url, template, schema: SCHEMA, outlives: server.outlives });
  project.provide('compiled', compiled);
  return async () => {
    await release(await made);
    await removeCompiled(compiled);
  };
}

async function prepare(version: '15' | 'newest'): Promise<Prepared> {
  const directory = postgres15();
  const server = version === '15' && directory ? await startPostgres15(directory) : await startTestServer();
  const template = `tailrace_template_${randomBytes(4).toString('hex')}`;
  try {
    await administer(server.url, `create database ${template}`);
    const url = new URL(server.url);
    url.pathname = template;
    await migrate({ url: url.href, schema: SCHEMA });
  } catch (error) {
    await server.stop();
    throw error;
  }
  return { server, template, users: 0 };
}

async function release(made: Prepared): Promise<void> {
  made.users--;
  if (made.users > 0) return;
  if (made.server.outlives) await administer(made.server.url, `drop database ${made.template} with (force)`);
  await made.server.stop();
}

async function administer(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(sql).finally(() => client.end());
}
