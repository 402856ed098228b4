/** Can another user enter a directory? Root sees everything, so asking the file system as root says nothing. */
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Account } from './account.js';

const ENTER = 0o1;

/** The first directory on the way to `path`, itself included, that this account cannot enter. */
export async function firstClosed(path: string, account: Account | undefined): Promise<string | undefined> {
  if (account === undefined) return undefined;
  const way = [resolve(path)];
  for (let last = way[0] ?? ''; dirname(last) !== last; last = dirname(last)) way.push(dirname(last));
  for (const directory of way.reverse()) {
    const { uid, gid, mode } = await stat(directory);
    const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0;
    if (((mode >> shift) & ENTER) === 0) return directory;
  }
  return undefined;
}
