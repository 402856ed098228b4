/**
 * Where the embedded database lies:
 *
 *     cluster/       Postgres's own, of the user it runs as
 *     password       of its superuser, readable by the server's user alone
 *     port           the one used last, so that the address stays
 *     secrets-key    of what is sealed in the database, for the server's user alone
 *     admin-token    secret of the first token, where tokens are required; to be moved to wherever its owner keeps such
 *     postgres.log   of the present or last run
 *     owner          the server process that has it now
 *
 * As root Postgres runs as another user, who cannot enter a project below /root. The default directory is then a
 * link to a new one under /var/lib; a directory somebody chose is not moved, the refusal names what is closed.
 */
import { chmod, mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { StartError } from '../domain/start-error.js';
import { type Account, chooseAccount } from './account.js';
import { firstClosed } from './reach.js';

const DEFAULT = '.tailrace/postgres';

export interface Places {
  /** The working directory. */
  readonly working: string;
  /** Where every user may enter. */
  readonly open: string;
}

export interface DataDirectory {
  /** Without links. */
  readonly path: string;
  readonly account: Account | undefined;
}

/** Makes the directory when it is missing. `chosen` is undefined for the default under the working directory. */
export async function openDataDirectory(
  chosen: string | undefined,
  places: Places = { working: process.cwd(), open: '/var/lib/tailrace' },
): Promise<DataDirectory> {
  const path = resolve(places.working, chosen ?? DEFAULT);
  try {
    const owner = await stat(join(path, 'cluster')).then(
      ({ uid }) => uid,
      () => undefined,
    );
    const account = await chooseAccount(owner);
    if (owner !== undefined && account === undefined && owner !== process.getuid?.()) {
      throw new StartError(
        `the data directory ${path} belongs to another user (${owner}), or to a server that root started: ` +
          'start as that user, or set TAILRACE_DATA_DIR to another directory',
      );
    }
    if (account && owner === undefined) await makeReachable(path, account, chosen ? undefined : places.open);
    await mkdir(path, { recursive: true });
    await refuseForeign(path);
    // The user Postgres runs as enters, and sees only its own directory.
    await chmod(path, account ? 0o711 : 0o700);
    return { path: await realpath(path), account };
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(`the data directory ${path} cannot be used: ${(error as Error).message}`, { cause: error });
  }
}

async function makeReachable(path: string, account: Account, open: string | undefined): Promise<void> {
  if (await stat(path).catch(() => undefined)) return await refuseClosed(await realpath(path), account);
  await makeOpen(dirname(path));
  if (open === undefined) return await refuseClosed(path, account);
  if ((await firstClosed(dirname(path), account)) === undefined) return;
  await rm(path, { force: true }); // a link to a directory that is gone
  await makeOpen(open);
  await symlink(await mkdtemp(join(open, 'data-')), path);
}

async function makeOpen(directory: string): Promise<void> {
  if ((await mkdir(directory, { recursive: true })) !== undefined) await chmod(directory, 0o755);
}

async function refuseClosed(path: string, account: Account): Promise<void> {
  const closed = await firstClosed(dirname(path), account);
  if (closed === undefined) return;
  throw new StartError(
    `Postgres does not run as root but as user ${account.name}, who cannot enter ${closed}: set TAILRACE_DATA_DIR to ` +
      `a directory outside of it, allow entering (chmod o+x ${closed}), or set DATABASE_URL`,
  );
}

const OURS =
  /^(cluster|new-.*|owner.*|password|port|postgres\.log|secrets-key(\.new)?|admin-token(\..*)?|lost\+found)$/;

/** Its mode is about to be changed, and a misspelt path must not close somebody's home directory to them. */
async function refuseForeign(path: string): Promise<void> {
  const foreign = (await readdir(path)).filter((name) => !OURS.test(name));
  if (foreign.length === 0) return;
  throw new StartError(`the data directory ${path} holds other things (${foreign[0]}): choose an empty or a new one`);
}

export async function readNote(directory: string, name: 'password' | 'port'): Promise<string | undefined> {
  return await readFile(join(directory, name), 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}

export async function writeNote(directory: string, name: 'password' | 'port', text: string): Promise<void> {
  await writeFile(join(directory, name), `${text}\n`, { mode: 0o600 });
}
