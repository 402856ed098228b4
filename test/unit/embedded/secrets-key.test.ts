import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { StartError } from '../../../src/domain/start-error.js';
import { openDataDirectory } from '../../../src/embedded/data-directory.js';
import { secretsKeyIn } from '../../../src/embedded/index.js';

let directory: string;
let file: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'secrets-key-'));
  await chmod(directory, 0o755);
  file = join(directory, 'secrets-key');
});
afterEach(() => rm(directory, { recursive: true }));

describe('the key of the embedded database', () => {
  it('is made on first use, for the eyes of its user, and found again', async () => {
    const key = await secretsKeyIn(directory);
    expect(key).toHaveLength(32);
    expect(await secretsKeyIn(directory)).toEqual(key);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['secrets-key']);
    // As a setting would give it, so that it can be moved to a database of one's own.
    expect(await readFile(file, 'utf8')).toBe(`${key.toString('base64')}\n`);
  });

  it('is not the same twice', async () => {
    const key = await secretsKeyIn(directory);
    await rm(file);
    expect(await secretsKeyIn(directory)).not.toEqual(key);
  });

  it('is made whole after a crash that left a draft, which does not keep its rights', async () => {
    await writeFile(`${file}.new`, 'half', { mode: 0o644 });
    const key = await secretsKeyIn(directory);
    expect(await secretsKeyIn(directory)).toEqual(key);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
  });

  it.each(['', 'half', `${Buffer.alloc(33).toString('base64')}`])(
    'that is damaged ("%s") is not replaced',
    async (found) => {
      await writeFile(file, found);
      const refused = await secretsKeyIn(directory).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(StartError);
      expect((refused as Error).message).toMatch(/secrets-key does not hold .* restore it, or remove it/);
      expect(await readFile(file, 'utf8')).toBe(found);
    },
  );

  it('and its draft belong into a data directory', async () => {
    await secretsKeyIn(directory);
    await writeFile(`${file}.new`, 'half');
    await openDataDirectory(directory);
  });
});
