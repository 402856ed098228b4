/**
 * The Postgres everything is measured on: the embedded one, with fsync on, in a directory of its own that goes with it.
 * Every contestant gets an empty database, so nobody inherits another's statistics, caches or dead rows.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbedded } from '../../src/embedded/index.js';
import type { Profile } from '../profiles.js';

/**
 * Beside Postgres's defaults: statements are counted, and no checkpoint falls into one contestant's turn and not into
 * another's, or the full pages written after it would be booked to whoever comes next.
 */
const SETTINGS = {
  shared_preload_libraries: 'pg_stat_statements',
  max_wal_size: '16GB',
  checkpoint_timeout: '1h',
};

export interface ArenaOptions {
  /** Where the temporary directory is made. Its disk is the one that commits are measured on. */
  readonly under?: string | undefined;
  /** Count statements inside functions too, for finding out where time goes. Costs a few percent. */
  readonly nested?: boolean;
}

export interface Ground {
  readonly url: string;
  readonly name: string;
  /** Ends its sessions and removes it. */
  drop(): Promise<void>;
}

export class Arena {
  /** Such as `18.4`. */
  readonly version: string;
  readonly postmaster: number;
  /** A session in the maintenance database, for counters and settings. */
  readonly admin: pg.Client;
  readonly #postgres: EmbeddedPostgres;
  readonly #directory: string;
  #profile: Profile = 'plain';
  #grounds = 0;

  private constructor(options: {
    postgres: EmbeddedPostgres;
    directory: string;
    admin: pg.Client;
    version: string;
    postmaster: number;
  }) {
    this.#postgres = options.postgres;
    this.#directory = options.directory;
    this.admin = options.admin;
    this.version = options.version;
    this.postmaster = options.postmaster;
  }

  static async open({ under = tmpdir(), nested = false }: ArenaOptions): Promise<Arena> {
    const directory = await mkdtemp(join(under, 'tailrace-bench-'));
    let postgres: EmbeddedPostgres | undefined;
    try {
      await configure(directory, { ...SETTINGS, 'pg_stat_statements.track': nested ? 'all' : 'top' });
      postgres = await startEmbedded({ directory });
      const admin = new pg.Client({ connectionString: inDatabase(postgres.url, 'postgres') });
      await admin.connect();
      await admin.query('create extension pg_stat_statements');
      const { rows } = await admin.query<{ version: string }>(`select current_setting('server_version') as version`);
      const [first = ''] = (await readFile(join(directory, 'cluster', 'postmaster.pid'), 'utf8')).split('\n');
      const version = rows[0]?.version ?? '';
      return new Arena({ postgres, directory, admin, version, postmaster: Number(first) });
    } catch (error) {
      await postgres?.stop();
      await rm(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** For the databases made from now on. */
  async enter(profile: Profile): Promise<void> {
    this.#profile = profile;
    const slow = profile === 'slow-commit';
    await this.set({ commit_delay: slow ? '2000' : '0', commit_siblings: slow ? '0' : '5' });
  }

  async set(settings: Readonly<Record<string, string>>): Promise<void> {
    await alterSystem(this.admin, settings);
    await this.admin.query('select pg_reload_conf()');
  }

  async fresh(): Promise<Ground> {
    const name = `bench_${++this.#grounds}`;
    await this.admin.query(`create database ${name}`);
    await this.forgetStatements();
    const url = inDatabase(this.#postgres.url, name);
    const holder = this.#profile === 'held-snapshot' ? await holdSnapshot(url) : undefined;
    return {
      url,
      name,
      drop: async () => {
        await holder?.end();
        await this.admin.query(`drop database ${name} with (force)`);
      },
    };
  }

  /** There is room for some thousand of them, and the oldest would fall out of a sum. */
  async forgetStatements(): Promise<void> {
    await this.admin.query('select pg_stat_statements_reset()');
  }

  async close(): Promise<void> {
    await this.admin.end();
    await this.#postgres.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}

/** Settings that need a start go into the cluster's own file, by a start before the real one. */
async function configure(directory: string, settings: Readonly<Record<string, string>>): Promise<void> {
  const postgres = await startEmbedded({ directory });
  try {
    const client = new pg.Client({ connectionString: postgres.url });
    await client.connect();
    await alterSystem(client, settings);
    await client.end();
  } finally {
    await postgres.stop();
  }
}

async function alterSystem(client: pg.Client, settings: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, value] of Object.entries(settings)) await client.query(`alter system set ${name} = '${value}'`);
}

/** Read-only, as a report or a backup would: it takes no transaction id, and keeps every row it could see. */
export async function holdSnapshot(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url, application_name: 'held snapshot' });
  // Dropping the database ends it.
  client.on('error', () => undefined);
  await client.connect();
  await client.query('begin isolation level repeatable read read only');
  await client.query('select count(*) from pg_class');
  return client;
}

function inDatabase(url: string, name: string): string {
  const made = new URL(url);
  made.pathname = name;
  return made.href;
}
