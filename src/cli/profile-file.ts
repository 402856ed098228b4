/**
 * The profiles of a person: named addresses with what is needed to get in, in one file that only its owner can read.
 *
 * It is replaced as a whole, so that a crash leaves the old one or the new one.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError } from './usage-error.js';

export interface Profile {
  readonly url?: string;
  readonly namespace?: string;
  /** The secret itself. At most one of the three. */
  readonly token?: string;
  readonly tokenFile?: string;
  /** Name of a variable of the environment that holds it. */
  readonly tokenVariable?: string;
  /** Files with PEM. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface Profiles {
  /** Used when nothing else says which. */
  readonly current?: string;
  readonly profiles: Readonly<Record<string, Profile>>;
}

export class ProfileFile {
  readonly path: string;
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.path = join(directory, 'config.json');
  }

  /** Without a file there are none. */
  async read(): Promise<Profiles> {
    let content: string;
    try {
      content = await readFile(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { profiles: {} };
      throw new UsageError(`the profiles cannot be read: ${(error as Error).message}`);
    }
    return this.#parsed(content);
  }

  async write(profiles: Profiles): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const fresh = `${this.path}.${randomUUID()}`;
    try {
      await writeFile(fresh, `${JSON.stringify(profiles, null, 2)}\n`, { mode: 0o600, flag: 'wx' });
      await rename(fresh, this.path);
    } catch (error) {
      await rm(fresh, { force: true });
      throw new UsageError(`the profiles cannot be written: ${(error as Error).message}`);
    }
  }

  #parsed(content: string): Profiles {
    try {
      const { current, profiles } = JSON.parse(content) as { current?: unknown; profiles?: unknown };
      if (typeof profiles !== 'object' || profiles === null) throw new Error('it has no "profiles"');
      const known = profiles as Record<string, Profile>;
      return { profiles: known, ...(typeof current === 'string' && { current }) };
    } catch (error) {
      throw new UsageError(`${this.path} is not a file of profiles: ${(error as Error).message}`);
    }
  }
}
