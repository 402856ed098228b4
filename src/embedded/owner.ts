/**
 * One server per data directory. The file `owner` names the process; a dead one's is taken over.
 *
 * Not a lock in the strict sense (Node has none on files), but Postgres refuses a second postmaster in any case:
 * this is for a clear message, and to know whether a running postmaster belongs to somebody.
 */
import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { processIdentity } from './process-identity.js';

export type Ownership = { readonly release: () => Promise<void> } | { readonly owner: number };

/** Directories this very process holds: in a file, its own number may also stand for a dead namesake. */
const held = new Set<string>();

/** Takes the directory, or answers the process that has it. */
export async function takeDirectory(directory: string): Promise<Ownership> {
  if (held.has(directory)) return { owner: process.pid };
  const file = join(directory, 'owner');
  const draft = join(directory, `owner.${randomBytes(4).toString('hex')}`);
  await writeFile(draft, (await processIdentity(process.pid)) ?? '', { mode: 0o600 });
  try {
    while (!(await linkIfAbsent(draft, file))) {
      const noted = await readFile(file, 'utf8').catch(() => '');
      const pid = Number.parseInt(noted, 10);
      if (pid !== process.pid && pid > 0 && (await processIdentity(pid)) === noted) return { owner: pid };
      await discard(file, noted);
    }
  } finally {
    await rm(draft, { force: true });
  }
  held.add(directory);
  const release = async () => {
    held.delete(directory);
    await rm(file, { force: true });
  };
  return { release };
}

/** Removes the note of a dead process; puts back what somebody else wrote in the meantime. */
async function discard(file: string, noted: string): Promise<void> {
  const aside = `${file}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(file, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, 'utf8')) !== noted) await linkIfAbsent(aside, file);
  await rm(aside, { force: true });
}

async function linkIfAbsent(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
