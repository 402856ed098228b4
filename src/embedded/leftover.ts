/**
 * What a killed server leaves behind: a postmaster that runs on (where the kernel did not stop it), one that is just
 * stopping, or only its postmaster.pid. Afterwards neither is there. The caller owns the directory.
 */
import { execFile } from 'node:child_process';
import { readFile, readlink, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { monotonicMs, pause } from '../runtime/clock.js';
import { processIdentity } from './process-identity.js';

const POLL_MS = 20;
const STOP_MS = 20_000;

export async function clearLeftover(cluster: string): Promise<void> {
  const file = join(cluster, 'postmaster.pid');
  const pid = Number.parseInt(await readFile(file, 'utf8').catch(() => ''), 10);
  if (Number.isNaN(pid)) return;
  if (await isPostmasterOf(pid, cluster)) await endProcess(pid);
  // Postgres itself gives up when the number in this file belongs to any living process of its user.
  await rm(file, { force: true });
}

async function isPostmasterOf(pid: number, cluster: string): Promise<boolean> {
  try {
    const place = await realpath(cluster);
    if (process.platform === 'linux') return (await readlink(`/proc/${pid}/cwd`)) === place;
    const { stdout } = await promisify(execFile)('ps', ['-o', 'command=', '-p', String(pid)]);
    return stdout.includes('postgres') && (stdout.includes(cluster) || stdout.includes(place));
  } catch {
    return false;
  }
}

async function endProcess(pid: number): Promise<void> {
  const identity = await processIdentity(pid);
  const started = monotonicMs();
  let signal: NodeJS.Signals = 'SIGINT';
  send(pid, signal);
  while (identity !== undefined && (await processIdentity(pid)) === identity) {
    if (signal === 'SIGINT' && monotonicMs() - started > STOP_MS) {
      signal = 'SIGQUIT';
      send(pid, signal);
    }
    await pause(POLL_MS);
  }
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It ended by itself.
  }
}
