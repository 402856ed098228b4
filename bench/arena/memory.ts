/** Memory of a process, from /proc. Where there is no /proc (other systems than Linux) nothing is known. */
import { readFile } from 'node:fs/promises';

/** Bytes of it that are in RAM; undefined where that cannot be known. */
export async function residentBytes(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1];
  return kib === undefined ? undefined : Number(kib) * 1_024;
}
