/**
 * The Postgres that comes with Tailrace, for when no DATABASE_URL is given: the first run needs no set-up, later
 * runs find the data again.
 *
 * One process at a time has a data directory. A killed one leaves nothing that the next start cannot clear. Should
 * Postgres end while it is wanted, it is started again on the same port: for the engine, a database that was away.
 */
import { randomBytes } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { StartError } from '../domain/start-error.js';
import { pause } from '../runtime/clock.js';
import { type Binaries, embeddedBinaries } from './binaries.js';
import { makeCluster } from './cluster.js';
import { type DataDirectory, openDataDirectory, readNote, writeNote } from './data-directory.js';
import { clearLeftover } from './leftover.js';
import { takeDirectory } from './owner.js';
import { freePort } from './port.js';
import { type Postmaster, startPostmaster } from './postmaster.js';
import { keepRunning } from './supervisor.js';

export { secretsKeyIn } from './secrets-key.js';

export interface EmbeddedOptions {
  /** Default: `.tailrace/postgres` under the working directory. */
  readonly directory?: string | undefined;
  /** Use the database of a server that already runs on this directory, instead of refusing. stop() then leaves it. */
  readonly attach?: boolean;
  /** Told when Postgres ended unasked, and what came of starting it again. */
  readonly onNotice?: (message: string) => void;
}

export interface EmbeddedPostgres {
  /** Holds the password: not for logs. */
  readonly url: string;
  readonly directory: string;
  /** Such as `embedded 18.4.0`. */
  readonly origin: string;
  /** Ends all sessions, waits until Postgres is down and gives the directory back. Safe to repeat. */
  stop(): Promise<void>;
}

const NAME = 'tailrace';
const SETTINGS = { max_connections: '100', timezone: 'UTC', log_timezone: 'UTC' };
const START_TRIES = 5;
const START_PAUSE_MS = 200;

export async function startEmbedded(options: EmbeddedOptions = {}): Promise<EmbeddedPostgres> {
  const place = await openDataDirectory(options.directory);
  const ownership = await takeDirectory(place.path);
  if ('owner' in ownership) return await joinOwner(place.path, ownership.owner, options.attach === true);
  try {
    await clearLeftover(join(place.path, 'cluster'));
    const binaries = await embeddedBinaries(place.account);
    await makeClusterOnce(place, binaries);
    const end = await keepRunning({ start: () => start(place, binaries), onNotice: options.onNotice });
    let stopped: Promise<void> | undefined;
    const stop = async () => {
      stopped ??= end().finally(ownership.release);
      await stopped;
    };
    const url = await address(place.path);
    await createDatabase(url).catch(async (error: unknown) => {
      await stop();
      throw error;
    });
    return { url, directory: place.path, origin: binaries.origin, stop };
  } catch (error) {
    await ownership.release();
    throw error;
  }
}

async function joinOwner(directory: string, owner: number, attach: boolean): Promise<EmbeddedPostgres> {
  const ready = (await readNote(directory, 'port')) !== undefined;
  if (attach && ready) {
    return { url: await address(directory), directory, origin: `process ${owner}`, stop: async () => undefined };
  }
  throw new StartError(
    `another Tailrace server (process ${owner}) already runs on the data directory ${directory}: stop it, set ` +
      'TAILRACE_DATA_DIR to another directory, or give all servers one Postgres with DATABASE_URL',
  );
}

async function makeClusterOnce({ path, account }: DataDirectory, binaries: Binaries): Promise<void> {
  const cluster = join(path, 'cluster');
  if (!(await stat(cluster).catch(() => undefined))) {
    // What a killed initdb left.
    for (const name of await readdir(path))
      if (name.startsWith('new-')) await rm(join(path, name), { recursive: true });
    const password = randomBytes(24).toString('base64url');
    await writeNote(path, 'password', password);
    await makeCluster({ binaries, cluster, account, superuser: NAME, password, durable: true });
  }
  if (await readNote(path, 'password')) return;
  throw new StartError(
    `${join(path, 'password')} is missing, without which nobody can connect: restore it, or remove ${path} ` +
      'with everything in it',
  );
}

async function start({ path, account }: DataDirectory, binaries: Binaries): Promise<Postmaster> {
  const cluster = join(path, 'cluster');
  const logFile = join(path, 'postgres.log');
  for (let attempt = 1; ; attempt++) {
    const port = await freePort(Number(await readNote(path, 'port')));
    try {
      const postmaster = await startPostmaster({ binaries, cluster, account, port, settings: SETTINGS, logFile });
      await writeNote(path, 'port', String(port));
      return postmaster;
    } catch (error) {
      // Somebody took the port just now; or sessions of a killed postmaster are still ending.
      const passing = /could not bind|shared memory block .* still in use/.test((error as Error).message);
      if (!passing || attempt === START_TRIES) throw error;
      await pause(attempt * START_PAUSE_MS);
    }
  }
}

async function address(directory: string): Promise<string> {
  const password = await readNote(directory, 'password');
  return `postgres://${NAME}:${password}@127.0.0.1:${await readNote(directory, 'port')}/${NAME}`;
}

async function createDatabase(url: string): Promise<void> {
  const maintenance = new URL(url);
  maintenance.pathname = 'postgres';
  const client = new pg.Client({ connectionString: maintenance.href });
  await client.connect();
  try {
    const found = await client.query('select 1 from pg_database where datname = $1', [NAME]);
    if (found.rows.length === 0) await client.query(`create database ${NAME}`);
  } finally {
    await client.end();
  }
}
