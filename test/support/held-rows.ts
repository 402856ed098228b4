/** Rows that a connection beside the server has locked, as a transaction that is under way would, until the test lets go. */
import pg from 'pg';
import type { TestDatabase } from './postgres.js';

export class HeldRows {
  readonly #client: pg.Client;
  readonly #schema: string;

  private constructor(client: pg.Client, schema: string) {
    this.#client = client;
    this.#schema = schema;
  }

  static async start({ url, schema }: TestDatabase): Promise<HeldRows> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query('begin');
    return new HeldRows(client, schema);
  }

  /** Waits for whoever has it; fails when there is none. */
  async hold(table: string, column: string, id: string): Promise<void> {
    const text = `select from ${this.#schema}.${table} where ${column} = $1 for update`;
    const { rowCount } = await this.#client.query(text, [id]);
    if (rowCount === 0) throw new Error(`no row of ${table} where ${column} is ${id}`);
  }

  /** Whoever adds rows to the table, or changes some, waits; whoever locks some does not. */
  async holdTable(table: string): Promise<void> {
    await this.#client.query(`lock table ${this.#schema}.${table} in share mode`);
  }

  /** Once everybody who is at it has committed; who comes later, be it to read, waits. */
  async keepFrom(table: string): Promise<void> {
    await this.#client.query(`lock table ${this.#schema}.${table} in access exclusive mode`);
  }

  /** Whether there is such a row by now. */
  async sees(table: string, row: Readonly<Record<string, string | number>>): Promise<boolean> {
    const are = Object.keys(row).map((column, i) => `${column} = $${i + 1}`);
    const text = `select from ${this.#schema}.${table} where ${are.join(' and ')} limit 1`;
    return (await this.#client.query(text, Object.values(row))).rowCount === 1;
  }

  /** Whether somebody who calls this function waits for a lock. */
  async keepsWaiting(name: string): Promise<boolean> {
    await this.#client.query('select pg_stat_clear_snapshot()');
    const text = `select from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock' and position($1 in query) > 0`;
    const { rowCount } = await this.#client.query(text, [`${this.#schema}.${name}(`]);
    return (rowCount ?? 0) > 0;
  }

  async release(): Promise<void> {
    await this.#client.query('rollback');
    await this.#client.end();
  }
}
