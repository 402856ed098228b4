/** What the machine says: room on the disk, modes of files, limits of the process. What cannot be told is left out. */
import { readFile, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { wallMs } from '../runtime/clock.js';
import type { MachineFacts, Setup } from './facts.js';

/** In the data directory of the embedded database. */
const SECRETS = ['password', 'secrets-key', 'admin-token'];

export async function readMachine({ dataDirectory }: Pick<Setup, 'dataDirectory'>): Promise<MachineFacts> {
  const [openFiles, disk, secrets] = await Promise.all([
    readOpenFiles(),
    dataDirectory === undefined ? undefined : readDisk(dataDirectory),
    dataDirectory === undefined ? [] : readModes(SECRETS.map((name) => join(dataDirectory, name))),
  ]);
  return { nowMs: wallMs(), openFiles, disk, secrets };
}

async function readOpenFiles(): Promise<number | undefined> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const most = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return most === undefined ? undefined : Number(most);
}

async function readDisk(path: string): Promise<MachineFacts['disk']> {
  const read = await statfs(path).catch(() => undefined);
  return read && { path, freeBytes: read.bavail * read.bsize, wholeBytes: read.blocks * read.bsize };
}

async function readModes(paths: readonly string[]): Promise<MachineFacts['secrets']> {
  const read = await Promise.all(paths.map((path) => stat(path).catch(() => undefined)));
  return paths.flatMap((path, index) => {
    const mode = read[index]?.mode;
    return mode === undefined ? [] : [{ path, mode }];
  });
}
