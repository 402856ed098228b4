/**
 * The key that secrets in the embedded database are sealed with. It lies beside the cluster, not in it: whoever copies the
 * database alone cannot use them. Made on first use, and flushed before anything is sealed with it.
 */
import { randomBytes } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { StartError } from '../domain/start-error.js';

const FORM = /^[A-Za-z0-9+/]{43}=$/;

/** 32 bytes. The caller owns the directory. A crash leaves a draft, which the next start writes over, or the whole file. */
export async function secretsKeyIn(directory: string): Promise<Buffer> {
  const file = join(directory, 'secrets-key');
  const found = await readFile(file, 'latin1').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new StartError(`${file} cannot be read: ${error.message}`, { cause: error });
  });
  if (found === undefined) return await makeKey(directory, file);
  if (FORM.test(found.trim())) return Buffer.from(found.trim(), 'base64');
  throw new StartError(
    `${file} does not hold the base64 of 32 bytes: restore it, or remove it, after which the tokens of waitpoints that were ` +
      'made so far are lost',
  );
}

async function makeKey(directory: string, file: string): Promise<Buffer> {
  const key = randomBytes(32);
  const draft = await open(`${file}.new`, 'w', 0o600);
  try {
    await draft.chmod(0o600);
    await draft.writeFile(`${key.toString('base64')}\n`);
    await draft.sync();
  } finally {
    await draft.close();
  }
  await rename(`${file}.new`, file);
  const place = await open(directory);
  await place.sync().finally(() => place.close());
  return key;
}
