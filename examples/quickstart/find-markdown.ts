/**
 * Finds Markdown files under a folder. Symbolic links are not followed, so the search stays inside; folders that cannot
 * be read are passed over and counted. `.git` is left out, and `node_modules` unless the search begins in one.
 */
import { readdir, stat } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';

export interface Found {
  /** Absolute. */
  readonly folder: string;
  /** Relative to the folder, sorted; so many at most. */
  readonly files: readonly string[];
  /** Files beyond that. */
  readonly leftOut: number;
  /** Folders that could not be read. */
  readonly unreadable: number;
}

/** Throws an error with a message for people. */
export async function findMarkdown(start: string, most: number): Promise<Found> {
  const folder = resolve(start);
  const root = await stat(folder).catch(() => undefined);
  if (!root?.isDirectory()) throw new Error(`${start} is not a folder that can be read`);
  const leftOut = folder.split(sep).includes('node_modules') ? ['.git'] : ['.git', 'node_modules'];
  const files: string[] = [];
  let unreadable = 0;
  const folders = [folder];
  for (let next = folders.pop(); next !== undefined; next = folders.pop()) {
    const entries = await readdir(next, { withFileTypes: true }).catch(() => undefined);
    if (!entries) unreadable++;
    for (const entry of entries ?? []) {
      const path = join(next, entry.name);
      if (entry.isDirectory() && !leftOut.includes(entry.name)) folders.push(path);
      if (entry.isFile() && /\.(md|markdown)$/i.test(entry.name)) files.push(relative(folder, path));
    }
  }
  const found = files.sort().slice(0, most);
  return { folder, files: found, leftOut: files.length - found.length, unreadable };
}
