/**
 * Makes a Postgres cluster: the directory that initdb fills. Made beside its place and moved there when whole, so
 * a killed initdb leaves no half cluster that a later start would take for a whole one.
 */
import { execFile } from 'node:child_process';
import { chmod, chown, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { StartError } from '../domain/start-error.js';
import type { Account } from './account.js';
import type { Binaries } from './binaries.js';
import { POSTGRES_ENVIRONMENT } from './postmaster.js';

export interface ClusterOptions {
  readonly binaries: Binaries;
  /** Where it shall lie; must not exist yet. */
  readonly cluster: string;
  readonly account: Account | undefined;
  readonly superuser: string;
  readonly password: string;
  /** False skips the fsyncs: for clusters that nobody needs after a crash. */
  readonly durable: boolean;
}

/** Passwords even on the loopback address: any user of this machine can connect to it. */
const RULES = ['--auth=scram-sha-256', '--encoding=UTF8', '--locale=C'];

export async function makeCluster(options: ClusterOptions): Promise<void> {
  const { account } = options;
  const made = await mkdtemp(join(dirname(options.cluster), 'new-'));
  const passwordFile = join(made, 'password');
  const cluster = join(made, 'cluster');
  try {
    await writeFile(passwordFile, `${options.password}\n`, { mode: 0o600 });
    if (account) {
      await chown(passwordFile, account.uid, account.gid);
      await chown(made, account.uid, account.gid);
    }
    const flags = [...RULES, `--username=${options.superuser}`, `--pwfile=${passwordFile}`, `--pgdata=${cluster}`];
    if (!options.durable) flags.push('--no-sync');
    await promisify(execFile)(options.binaries.initdb, flags, {
      env: POSTGRES_ENVIRONMENT,
      cwd: '/',
      ...(account && { uid: account.uid, gid: account.gid }),
    });
    await chmod(cluster, 0o700);
    await rename(cluster, options.cluster);
  } catch (error) {
    throw new StartError(`making a Postgres cluster in ${options.cluster} failed: ${explain(error)}`, { cause: error });
  } finally {
    await rm(made, { recursive: true, force: true });
  }
}

function explain(error: unknown): string {
  const { code, stderr, message } = error as NodeJS.ErrnoException & { stderr?: string };
  if (code === 'ENOENT') return `${message} (these binaries need glibc: on a musl system set DATABASE_URL)`;
  return stderr?.trim() || message;
}
