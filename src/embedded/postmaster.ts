/**
 * One running Postgres: started, known to be ready, stopped. It listens on the loopback address only, without
 * Unix sockets (their paths may not exceed about a hundred characters, a data directory's may).
 *
 * It runs in a session of its own, so that Ctrl-C in a terminal reaches this process alone, which drains before
 * it stops the database. Where `setpriv` exists the kernel stops Postgres when this process is killed; elsewhere
 * the next start finds it and stops it (leftover.ts).
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StartError } from '../domain/start-error.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import type { Account } from './account.js';
import type { Binaries } from './binaries.js';

export interface PostmasterOptions {
  readonly binaries: Binaries;
  /** What initdb made. */
  readonly cluster: string;
  readonly account: Account | undefined;
  readonly port: number;
  readonly settings: Readonly<Record<string, string>>;
  /** Emptied at each start. */
  readonly logFile: string;
}

export interface Postmaster {
  readonly pid: number;
  /** Resolves when it ended, for whatever reason. */
  readonly ended: Promise<void>;
  /** Ends all sessions and waits for the end. Safe to repeat. */
  stop(): Promise<void>;
}

const READY_MS = 60_000;
const READY_POLL_MS = 10;
/** How long a fast shutdown may take before an immediate one, which recovers at the next start. */
const STOP_MS = 20_000;

/** Nothing of our own environment: a PGDATA or LC_ALL of the user's must not reach this server. */
export const POSTGRES_ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

export async function startPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  const { account, cluster } = options;
  const parameters = { ...options.settings, port: String(options.port), ...LISTEN };
  const flags = Object.entries(parameters).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const command = [...(await deathSignal()), options.binaries.postgres, '-D', cluster, ...flags];
  const log = await open(options.logFile, 'w', 0o600);
  const child = spawn(command[0] ?? '', command.slice(1), {
    stdio: ['ignore', log.fd, log.fd],
    detached: true,
    env: POSTGRES_ENVIRONMENT,
    cwd: '/',
    ...(account && { uid: account.uid, gid: account.gid }),
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(`it ended with ${signal ?? `code ${code}`}`));
  });
  await log.close();
  const problem = await Promise.race([ended, waitUntilReady(child, cluster)]);
  if (problem !== undefined) {
    child.kill('SIGKILL');
    throw new StartError(`Postgres did not start: ${problem}\n${await tail(options.logFile)}`.trimEnd());
  }
  return {
    pid: child.pid ?? 0,
    ended: ended.then(() => undefined),
    stop: async () => {
      child.kill('SIGINT');
      const given = new AbortController();
      await Promise.race([ended, pause(STOP_MS, given.signal).then(() => child.kill('SIGQUIT'))]);
      given.abort();
      await ended;
    },
  };
}

const LISTEN = { listen_addresses: '127.0.0.1', unix_socket_directories: '' };

/** Answers nothing when ready, else the problem. The eighth line of postmaster.pid is what pg_ctl waits for. */
async function waitUntilReady(child: ChildProcess, cluster: string): Promise<string | undefined> {
  const started = monotonicMs();
  while (monotonicMs() - started < READY_MS) {
    const lines = (await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
    if (lines[0] === String(child.pid) && lines[7]?.trim() === 'ready') return undefined;
    if (child.exitCode !== null || child.signalCode !== null) return 'it ended';
    await pause(READY_POLL_MS);
  }
  return `it was not ready within ${READY_MS / 1_000} s`;
}

let prefix: Promise<string[]> | undefined;

/** The command in front of another that ends it with its parent: setpriv of util-linux; BusyBox's does not know how. */
function deathSignal(): Promise<string[]> {
  const command = ['setpriv', '--pdeathsig', 'INT', '--'];
  prefix ??= promisify(execFile)('setpriv', ['--pdeathsig', 'INT', '--', 'true'], { env: POSTGRES_ENVIRONMENT }).then(
    () => command,
    () => [],
  );
  return prefix;
}

async function tail(file: string): Promise<string> {
  return (await readFile(file, 'utf8').catch(() => '')).slice(-2_000);
}
