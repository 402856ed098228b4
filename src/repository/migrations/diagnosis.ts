/** How a schema stands to the migrations of this build, told without changing anything: before an upgrade, or when a start fails. */
import { EngineError } from '../../domain/errors.js';
import { StartError } from '../../domain/start-error.js';
import { pendingMigrations } from './compare.js';
import { type MigrationFile, readMigrations } from './files.js';
import { readApplied, refuseOldPostgres } from './history.js';
import { withSession } from './session.js';

export interface PendingMigration {
  readonly name: string;
  /** In the words of its header. */
  readonly locks: string;
  /** Whether servers that do not know it may go on beside it. */
  readonly olderServers: boolean;
}

export interface SchemaDiagnosis {
  /** Number of the last migration the database has; 0: the schema is not there. */
  readonly version: number;
  /** Number of the last one of this build. */
  readonly known: number;
  readonly pending: readonly PendingMigration[];
  /** Why this build cannot live with the schema. */
  readonly problem: string | undefined;
}

export async function diagnoseSchema(options: {
  readonly url: string;
  readonly schema: string;
  /** Default: the migrations of this package. */
  readonly directory?: string;
}): Promise<SchemaDiagnosis> {
  const files = await readMigrations(options.directory);
  return await withSession(options.url, async (client) => {
    await refuseOldPostgres(client);
    const applied = await readApplied(client, options.schema);
    const version = Math.max(0, ...applied.map((row) => row.version));
    const known = files.at(-1)?.version ?? 0;
    try {
      const pending = pendingMigrations(files, applied).map(told);
      return { version, known, pending, problem: undefined };
    } catch (error) {
      if (!(error instanceof StartError || error instanceof EngineError)) throw error;
      return { version, known, pending: [], problem: error.message };
    }
  });
}

function told({ name, olderServers, pieces }: MigrationFile): PendingMigration {
  const header = /^(--.*\n)*/.exec(pieces[0] ?? '')?.[0] ?? '';
  const text = header.replaceAll(/^-- ?/gm, '').replaceAll(/\n(?!\n)/g, ' ');
  const locks = /\bLocks: *(.*?) *(?=older-servers:|migrate:|\n|$)/.exec(text)?.[1];
  return { name, olderServers, locks: locks?.replace(/\.$/, '') || 'not said' };
}
