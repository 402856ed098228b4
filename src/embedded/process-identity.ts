/**
 * Whether a process that was noted down earlier still lives. Numbers are used again, in a container almost surely
 * (the server is process 1 each time), so a note holds the time of birth as well.
 */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Undefined when there is no such process. */
export async function processIdentity(pid: number): Promise<string | undefined> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return undefined;
  }
  return `${pid} ${(process.platform === 'linux' ? await birthInProc(pid) : await birthByPs(pid)) ?? 'unknown'}`;
}

/** Ticks since boot, and which boot. */
async function birthInProc(pid: number): Promise<string | undefined> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses and may hold anything; the birth is the twentieth after it.
    return `${boot.trim()}:${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    return undefined;
  }
}

async function birthByPs(pid: number): Promise<string | undefined> {
  return await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
}
