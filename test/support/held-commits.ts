/** Transactions that have done everything but commit: those that put rows into a table, from now on until they are let go. */
import pg from 'pg';
import type { TestDatabase } from './postgres.js';

const KEY = 7_341;

export class HeldCommits {
  readonly #client: pg.Client;
  readonly #schema: string;

  private constructor(client: pg.Client, schema: string) {
    this.#client = client;
    this.#schema = schema;
  }

  static async of(table: string, { url, schema }: TestDatabase): Promise<HeldCommits> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(`select pg_advisory_lock(${KEY});
      create function ${schema}.wait_to_commit() returns trigger language plpgsql as $$
      begin
        perform pg_advisory_xact_lock_shared(${KEY});
        return null;
      end $$;
      create constraint trigger wait_to_commit after insert on ${schema}.${table} deferrable initially deferred
        for each row execute function ${schema}.wait_to_commit()`);
    return new HeldCommits(client, schema);
  }

  /** Whether somebody waits to commit. */
  async keepWaiting(): Promise<boolean> {
    const text = `select from pg_locks l join pg_database d on d.oid = l.database
      where d.datname = current_database() and l.locktype = 'advisory' and l.objid = ${KEY} and not l.granted`;
    return (await this.#client.query(text)).rowCount !== 0;
  }

  async letGo(): Promise<void> {
    await this.#client.query(`select pg_advisory_unlock(${KEY})`);
    await this.#client.query(`drop function ${this.#schema}.wait_to_commit() cascade`);
    await this.#client.end();
  }
}
