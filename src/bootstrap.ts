/**
 * The first token of an installation, for admins of everything: how somebody gets in where tokens are required.
 *
 * At a start where nobody holds such a token, one is made: its secret goes to a file (TAILRACE_BOOTSTRAP_TOKEN_FILE, or
 * `admin-token` beside the embedded database), never to the log. Without a file to put it in, `tailrace bootstrap`, which
 * goes to the database directly as verify does, prints one: `bootstrapSecret` is what it calls.
 *
 * However many servers start at once, one token is made. The file is there whole or not at all, and before the token: a
 * crash between the two leaves a secret that the next start stores. Servers that share a file share its secret; of those
 * that do not, one is first and the others take their files away again.
 */
import { link, mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StartError } from './domain/start-error.js';
import type { Runner } from './repository/database.js';
import { bootstrapToken, hasAdminToken } from './repository/tokens/index.js';
import { hashOf, makeSecret, tokenIdIn } from './services/authentication/index.js';

export interface BootstrapOptions {
  readonly runner: Runner;
  /** Where the secret lies, or is to lie. */
  readonly file: string | undefined;
  /** For people; never told a secret. */
  readonly onNotice: (message: string) => void;
}

/** At the start of a server that requires tokens. */
export async function bootstrap({ runner, file, onNotice }: BootstrapOptions): Promise<void> {
  if (await hasAdminToken(runner)) return;
  if (file === undefined) {
    onNotice(
      'tokens are required, and nobody holds one for admins of all namespaces: `tailrace bootstrap`, with the same ' +
        'DATABASE_URL and TAILRACE_SCHEMA, makes and prints one',
    );
    return;
  }
  const { secret, made } = await secretIn(file);
  const verdict = await bootstrapToken(runner, { ...stored(secret, file), always: false, actor: '' });
  if (verdict === 'made') onNotice(`the first token, for admins of all namespaces, lies in ${file}`);
  if (verdict === 'there' && made) await rm(file, { force: true });
  if (verdict === 'spent') {
    onNotice(`the token in ${file} has ended: remove the file, and the next start makes another one`);
  }
}

/** Makes the first token and answers its secret; undefined where there is one already, unless `always`. */
export async function bootstrapSecret(runner: Runner, always = false): Promise<string | undefined> {
  const { id, text } = makeSecret();
  const verdict = await bootstrapToken(runner, { id, hash: hashOf(text), always, actor: '' });
  return verdict === 'made' ? text : undefined;
}

function stored(secret: string, file: string): { id: string; hash: Buffer } {
  const id = tokenIdIn(secret);
  if (id !== undefined) return { id, hash: hashOf(secret) };
  throw new StartError(
    `${file} does not hold the secret of a token, tr_ followed by 22 and 43 letters, digits, - and _ with a _ between: ` +
      'remove it, and the server makes one',
  );
}

async function secretIn(file: string): Promise<{ secret: string; made: boolean }> {
  const made = (await contentOf(file)) === undefined && (await madeFile(file));
  // One made by another server meanwhile is as good.
  return { secret: (await contentOf(file)) ?? '', made };
}

async function contentOf(file: string): Promise<string | undefined> {
  return await readFile(file, 'utf8').then(
    (content) => content.trim(),
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw unusable(file, error);
    },
  );
}

/** False: another server was first. */
async function madeFile(file: string): Promise<boolean> {
  const { id, text } = makeSecret();
  const draft = `${file}.${id}`;
  try {
    await mkdir(dirname(file), { recursive: true });
    const handle = await open(draft, 'wx', 0o600);
    try {
      await handle.writeFile(`${text}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await link(draft, file); // unlike a rename it fails where there is one
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw unusable(file, error as Error);
  } finally {
    await rm(draft, { force: true });
  }
}

function unusable(file: string, error: Error): StartError {
  return new StartError(`the file for the first token cannot be used: ${error.message}; it is ${file}`, {
    cause: error,
  });
}
