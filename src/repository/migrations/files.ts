/**
 * Migration files: `migrations/NNNN_verb_object.sql`, forward-only, applied in the order of their numbers.
 *
 * A file opens with comment lines that say why it exists and which locks it takes. Two directives are read:
 *
 *     older-servers: allowed      servers that do not know this file may go on running beside it (or `refused`)
 *     migrate: no-transaction     optional; for what Postgres refuses inside a transaction
 *
 * A file without a transaction is sent piece by piece, cut at lines that say `-- migrate: next`. A crash may leave
 * it half done and it is then sent again, so each of its pieces must bear repeating (an index built concurrently is
 * dropped `if exists` first: a failed build leaves an invalid one behind).
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { StartError } from '../../domain/start-error.js';
import { packageRoot } from '../../runtime/package-root.js';

export interface MigrationFile {
  readonly version: number;
  /** The file's name, such as `0001_create_core.sql`. */
  readonly name: string;
  readonly sha256: string;
  readonly olderServers: boolean;
  readonly inTransaction: boolean;
  /** What is sent, in order: one text inside a transaction, one or more without. `{schema}` is not replaced yet. */
  readonly pieces: readonly string[];
}

const NAME = /^(\d{4})_[a-z0-9]+(_[a-z0-9]+)*\.sql$/;
const NEXT = /^-- migrate: next$/m;

/** All migrations of this package, or of the directory given, by rising version. */
export async function readMigrations(directory = join(packageRoot(), 'migrations')): Promise<MigrationFile[]> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.sql')).sort();
  const files = await Promise.all(
    names.map(async (name) => parseMigration(name, await readFile(join(directory, name), 'utf8'))),
  );
  for (const [index, file] of files.entries()) {
    if (files[index - 1]?.version === file.version) {
      throw new StartError(`migrations ${files[index - 1]?.name} and ${file.name} have the same number`);
    }
  }
  return files;
}

export function parseMigration(name: string, content: string): MigrationFile {
  const number = NAME.exec(name)?.[1];
  if (number === undefined) throw new StartError(`migration ${name} is not named NNNN_verb_object.sql`);
  // A checkout may have rewritten the line endings; that changes nothing that Postgres sees.
  const text = content.replaceAll('\r\n', '\n');
  const directives = readHeader(name, text);
  const inTransaction = !directives.noTransaction;
  return {
    version: Number(number),
    name,
    sha256: createHash('sha256').update(text).digest('hex'),
    olderServers: directives.olderServers,
    inTransaction,
    pieces: inTransaction ? [text] : text.split(NEXT),
  };
}

/** The comment lines at the top; a directive may stand behind other words on its line. */
function readHeader(name: string, text: string): { olderServers: boolean; noTransaction: boolean } {
  const header = /^(--.*\n)*/.exec(text)?.[0] ?? '';
  let olderServers: boolean | undefined;
  let noTransaction = false;
  for (const [said, key, value] of header.matchAll(/\b(migrate|older-servers):[ \t]*([\w-]*)/g)) {
    if (key === 'older-servers' && (value === 'allowed' || value === 'refused')) olderServers = value === 'allowed';
    else if (key === 'migrate' && value === 'no-transaction') noTransaction = true;
    else throw new StartError(`migration ${name}: its header says "${said}"`);
  }
  if (olderServers === undefined) {
    throw new StartError(`migration ${name}: its header lacks "older-servers: allowed" or "older-servers: refused"`);
  }
  return { olderServers, noTransaction };
}
