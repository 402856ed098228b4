/**
 * The table {schema}.migration: which files this database has seen. The runner makes it, since the first file
 * needs it. Rights to create are asked for only where something is missing, so that a role without them can run
 * servers over a schema that its owner migrated.
 */
import type pg from 'pg';
import { StartError } from '../../domain/start-error.js';
import { inSchema } from '../statement.js';
import type { AppliedMigration } from './compare.js';

const OLDEST = 15;

export async function refuseOldPostgres(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ server_version_num: string }>('show server_version_num');
  const major = Math.floor(Number(rows[0]?.server_version_num) / 10_000);
  if (major < OLDEST) throw new StartError(`the database is Postgres ${major}; ${OLDEST} or newer is needed`);
}

export async function createMigrationTable(client: pg.Client, schema: string): Promise<void> {
  const found = await client.query<{ schema: boolean; table: boolean }>(
    'select to_regnamespace($1) is not null as schema, to_regclass($2) is not null as table',
    [schema, `${schema}.migration`],
  );
  if (!found.rows[0]?.schema) await client.query(inSchema('create schema {schema}', schema));
  if (found.rows[0]?.table) return;
  await client.query(
    inSchema(
      `create table {schema}.migration (
         version int primary key,
         name text not null,
         sha256 text not null,
         older_servers boolean not null,
         applied_at timestamptz not null,
         took_ms int not null
       )`,
      schema,
    ),
  );
}

/** Nothing when the schema is not there yet. */
export async function readApplied(client: pg.Client, schema: string): Promise<AppliedMigration[]> {
  const found = await client.query<{ there: boolean }>('select to_regclass($1) is not null as there', [
    `${schema}.migration`,
  ]);
  if (!found.rows[0]?.there) return [];
  const { rows } = await client.query<AppliedMigration>(
    inSchema(
      'select version, name, sha256, older_servers as "olderServers" from {schema}.migration order by version',
      schema,
    ),
  );
  return rows;
}
