/** A Postgres of a test's own, which it may crash and start again at the same address. */
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chooseAccount } from '../../src/embedded/account.js';
import { embeddedBinaries } from '../../src/embedded/binaries.js';
import { makeCluster } from '../../src/embedded/cluster.js';
import { freePort } from '../../src/embedded/port.js';
import { type Postmaster, startPostmaster } from '../../src/embedded/postmaster.js';
import { applyRoleSettings } from '../../src/repository/migrations/index.js';
import type { TestDatabase } from './postgres.js';

export class RestartablePostgres {
  readonly database: TestDatabase;
  readonly #start: () => Promise<Postmaster>;
  readonly #directory: string;
  #postmaster: Postmaster;

  private constructor(url: string, directory: string, start: () => Promise<Postmaster>, postmaster: Postmaster) {
    this.#directory = directory;
    this.#start = start;
    this.#postmaster = postmaster;
    this.database = { url, schema: 'tailrace', name: 'postgres', drop: () => this.#drop() };
  }

  /** `more`: settings beside those of every test's Postgres, or instead of them. */
  static async make(more: Readonly<Record<string, string>> = {}): Promise<RestartablePostgres> {
    const account = await chooseAccount();
    const binaries = await embeddedBinaries(account);
    const directory = await mkdtemp(join(tmpdir(), 'tailrace-restartable-'));
    await chmod(directory, 0o711);
    const cluster = join(directory, 'cluster');
    const password = randomBytes(16).toString('hex');
    await makeCluster({ binaries, cluster, account, superuser: 'postgres', password, durable: false });
    const port = await freePort();
    // What a crash of Postgres alone leaves is whole without fsync too: the pages are with the kernel.
    const settings = { fsync: 'off', max_connections: '100', timezone: 'UTC', ...more };
    const logFile = join(directory, 'postgres.log');
    const start = () => startPostmaster({ binaries, cluster, account, port, settings, logFile });
    const url = `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
    const postmaster = await start();
    await applyRoleSettings(url);
    return new RestartablePostgres(url, directory, start, postmaster);
  }

  /** Ends it as a crash would, without a checkpoint and without a word to its clients, and starts it again. */
  async crash(): Promise<void> {
    process.kill(this.#postmaster.pid, 'SIGQUIT');
    await this.#postmaster.ended;
    this.#postmaster = await this.#start();
  }

  async #drop(): Promise<void> {
    await this.#postmaster.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
