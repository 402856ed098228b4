/**
 * Brings a schema up to this server's migrations. Any number of processes may do it at once: one works under the
 * schema's advisory lock, the others wait and find nothing left to do. Two installations in one database have a
 * lock each.
 *
 * A file and its row in {schema}.migration commit together, so a crash leaves whole files only; a file that runs
 * without a transaction is sent again after a crash.
 */
import type pg from 'pg';
import { StartError } from '../../domain/start-error.js';
import { monotonicMs, pause } from '../../runtime/clock.js';
import { inSchema, SCHEMA_NAME } from '../statement.js';
import { pendingMigrations } from './compare.js';
import { type MigrationFile, readMigrations } from './files.js';
import { createMigrationTable, readApplied, refuseOldPostgres } from './history.js';
import { settleRole } from './role-settings.js';
import { withLock, withSession } from './session.js';

export interface MigrateOptions {
  readonly url: string;
  readonly schema: string;
  /** Default: the migrations of this package. */
  readonly directory?: string;
  /** Ends the wait for another process's migrations. */
  readonly signal?: AbortSignal;
  /** Called when another process migrates and this one waits for it. */
  readonly onWait?: () => void;
}

/** Applies what is missing, then the settings of the role. Answers the names of the files applied by this call. */
export async function migrate(options: MigrateOptions): Promise<string[]> {
  const { schema } = options;
  if (!SCHEMA_NAME.test(schema)) throw new StartError(`"${schema}" cannot be the name of a schema`);
  const files = await readMigrations(options.directory);
  return await withSession(options.url, async (client) => {
    await refuseOldPostgres(client);
    const bring = async () => {
      // The role's own limits are made for the engine's statements; building an index takes as long as it takes.
      await client.query('set statement_timeout = 0; set idle_in_transaction_session_timeout = 0');
      await createMigrationTable(client, schema);
      const applied: string[] = [];
      for (const file of pendingMigrations(files, await readApplied(client, schema))) {
        await applyFile(client, schema, file);
        applied.push(file.name);
      }
      await settleRole(client, options.url);
      return applied;
    };
    return await withLock(client, `tailrace.migrate.${schema}`, bring, options);
  });
}

/** Refuses a database that lacks a migration of this server, or holds one it cannot live with. Changes nothing. */
export async function checkSchema(options: Pick<MigrateOptions, 'url' | 'schema' | 'directory'>): Promise<void> {
  const files = await readMigrations(options.directory);
  const pending = await withSession(options.url, async (client) => {
    await refuseOldPostgres(client);
    return pendingMigrations(files, await readApplied(client, options.schema));
  });
  if (pending.length === 0) return;
  throw new StartError(
    `schema ${options.schema} lacks ${pending.map((file) => file.name).join(', ')}: run \`tailrace migrate\``,
  );
}

const LOCK_TRIES = 20;
const LOCK_PAUSE_MS = 500;

/**
 * Inside a transaction a lock is awaited for two seconds at a time: everybody queues up behind a waiting ALTER
 * TABLE, and a running server must get its turn between two tries. Without a transaction the wait has no end,
 * because an index build that is cut short leaves an invalid index.
 */
async function applyFile(client: pg.Client, schema: string, file: MigrationFile): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const started = monotonicMs();
    try {
      await client.query(`set lock_timeout = ${file.inTransaction ? 2_000 : 0}`);
      if (file.inTransaction) await client.query('begin');
      for (const piece of file.pieces) await client.query(inSchema(piece, schema));
      await client.query(
        inSchema(
          `insert into {schema}.migration (version, name, sha256, older_servers, applied_at, took_ms)
           values ($1, $2, $3, $4, clock_timestamp(), $5)`,
          schema,
        ),
        [file.version, file.name, file.sha256, file.olderServers, Math.round(monotonicMs() - started)],
      );
      if (file.inTransaction) await client.query('commit');
      return;
    } catch (error) {
      if (file.inTransaction) await client.query('rollback').catch(() => undefined);
      const blocked = (error as { code?: unknown }).code === '55P03';
      if (!blocked || !file.inTransaction || attempt === LOCK_TRIES) {
        throw new StartError(`migration ${file.name}: ${(error as Error).message}`, { cause: error });
      }
      await pause(LOCK_PAUSE_MS);
    }
  }
}
