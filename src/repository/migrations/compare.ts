/**
 * What stands between a database and the migrations this server knows: the files still to apply, or the refusal.
 *
 * Pure. History is never repaired here: a changed or late file is a mistake to be looked at, not to be applied.
 */
import { EngineError } from '../../domain/errors.js';
import { StartError } from '../../domain/start-error.js';
import type { MigrationFile } from './files.js';

export interface AppliedMigration {
  readonly version: number;
  readonly name: string;
  readonly sha256: string;
  readonly olderServers: boolean;
}

export function pendingMigrations(
  files: readonly MigrationFile[],
  applied: readonly AppliedMigration[],
): readonly MigrationFile[] {
  const known = new Map(files.map((file) => [file.version, file]));
  for (const row of applied) {
    const file = known.get(row.version);
    if (file === undefined) refuseUnknown(row, files);
    else if (file.sha256 !== row.sha256) refuseChanged(file, row);
  }
  const newest = Math.max(0, ...applied.map((row) => row.version));
  const done = new Set(applied.map((row) => row.version));
  const pending = files.filter((file) => !done.has(file.version));
  const late = pending.find((file) => file.version < newest);
  if (late) {
    throw new StartError(
      `migration ${late.name} is older than the newest applied (${String(newest).padStart(4, '0')}): number it anew`,
    );
  }
  return pending;
}

function refuseUnknown(row: AppliedMigration, files: readonly MigrationFile[]): void {
  const newest = files.at(-1);
  if (row.version < (newest?.version ?? 0)) {
    throw new StartError(`migration ${row.name} was applied to this database, but its file is gone`);
  }
  if (row.olderServers) return;
  throw new EngineError(
    'SCHEMA_TOO_NEW',
    `the database holds migration ${row.name}, which this server does not know and which does not allow older ` +
      `servers (this one ends at ${newest?.name ?? 'none'}): upgrade this server`,
    { metadata: { migration: row.name } },
  );
}

function refuseChanged(file: MigrationFile, row: AppliedMigration): never {
  const renamed = file.name === row.name ? '' : ` (then named ${row.name})`;
  throw new StartError(
    `migration ${file.name}${renamed} was changed after it was applied to this database: ` +
      'restore the file, and put the change into a new one',
  );
}
