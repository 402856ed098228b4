/**
 * CPU time of processes, from /proc. Where there is no /proc (other systems than Linux) nothing is known, and the
 * table says so.
 */
import { readdir, readFile } from 'node:fs/promises';

/** Linux shows ticks of a hundredth of a second to programs, whatever the kernel's own are. */
const TICK_MS = 10;

interface Usage {
  readonly parent: number;
  readonly ownMs: number;
  /** Of its children that have ended. */
  readonly childrenMs: number;
}

/** Milliseconds of CPU the process has used; undefined where that cannot be known. */
export async function processCpuMs(pid: number): Promise<number | undefined> {
  return (await usage(pid))?.ownMs;
}

/** Of the process, its present children, and those that have ended: a postmaster with all its backends. */
export async function familyCpuMs(pid: number): Promise<number | undefined> {
  const root = await usage(pid);
  if (root === undefined) return undefined;
  const names = await readdir('/proc');
  const all = await Promise.all(names.filter((name) => /^\d+$/.test(name)).map((name) => usage(Number(name))));
  const children = all.filter((one) => one?.parent === pid);
  return children.reduce((sum, child) => sum + (child?.ownMs ?? 0), root.ownMs + root.childrenMs);
}

async function usage(pid: number): Promise<Usage | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  // The name in parentheses may hold spaces; what follows it begins with the state, field 3 of proc(5).
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const ms = (field: number) => Number(fields[field - 3]) * TICK_MS;
  return { parent: Number(fields[1]), ownMs: ms(14) + ms(15), childrenMs: ms(16) + ms(17) };
}
