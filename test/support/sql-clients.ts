/**
 * Users of the engine's functions in SQL: a role of their own, and a pool like one that pools by transaction. Each transaction
 * has another backend than the one before, which has forgotten whatever its session was told.
 */
import { randomBytes } from 'node:crypto';
import pg from 'pg';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { monotonicMs, pause } from '../../src/runtime/clock.js';
import type { TestDatabase } from './postgres.js';

const BACKENDS = 3;
const REPEATED_MS = 20_000;

/** What a holder shows of what it completes, as the first arguments. */
export const HELD = "'default', $1, $2, $3";

export function heldBy({ lease }: Claim): unknown[] {
  return [lease?.executionId, lease?.leaseId, String(lease?.fencingToken)];
}

/** SQL's null for null. */
export function json(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value);
}

/** What a function of the engine has refused, from its detail. */
export class SqlRefusal extends Error {
  readonly reason: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly { readonly field: string; readonly description: string }[];

  constructor(
    readonly code: string,
    message: string,
    detail: string,
  ) {
    super(message);
    ({ reason: this.reason, metadata: this.metadata, violations: this.violations } = JSON.parse(detail));
  }
}

export type Query = <R extends pg.QueryResultRow = pg.QueryResultRow>(
  text: string,
  values?: readonly unknown[],
) => Promise<R[]>;

export interface SqlTransaction {
  readonly query: Query;
  readonly backend: number;
  commit(): Promise<void>;
  rollback(): Promise<void>;
}

export class SqlClients {
  readonly role: string;
  readonly #database: TestDatabase;
  readonly #owner: pg.Client;
  readonly #idle: pg.Client[] = [];
  readonly #all: pg.Client[] = [];

  private constructor(database: TestDatabase, owner: pg.Client, role: string) {
    this.#database = database;
    this.#owner = owner;
    this.role = role;
  }

  /** A role that may log in and has a schema `app`, and nothing of the engine unless it is granted. */
  static async start(database: TestDatabase, granted = true): Promise<SqlClients> {
    const owner = new pg.Client({ connectionString: database.url });
    await owner.connect();
    const role = `tailrace_sql_${randomBytes(6).toString('hex')}`;
    await owner.query(`create role ${role} login password '${role}'`);
    await owner.query(`create schema if not exists app; grant all on schema app to ${role}`);
    const clients = new SqlClients(database, owner, role);
    if (granted) await clients.asOwner(`select ${database.schema}.grant_sql_client($1)`, [role]);
    for (let i = 0; i < BACKENDS; i++) clients.#idle.push(await clients.#connect());
    return clients;
  }

  /** By whom the engine's schema belongs. */
  readonly asOwner: Query = async <R extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) =>
    (await this.#owner.query<R>(text, [...values])).rows;

  async begin(how = 'begin'): Promise<SqlTransaction> {
    const client = this.#idle.shift() ?? (await this.#connect());
    await client.query('discard all');
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    await client.query(how);
    const end = async (word: string) => {
      await client.query(word);
      this.#idle.push(client);
    };
    return {
      backend: rows[0]?.pid ?? 0,
      query: async (text, values = []) => (await client.query(text, [...values]).catch(refused)).rows,
      commit: () => end('commit'),
      rollback: () => end('rollback'),
    };
  }

  /** Committed unless the body throws. */
  async transaction<T>(body: (query: Query) => Promise<T>): Promise<T> {
    const { query, commit, rollback } = await this.begin();
    try {
      const answer = await body(query);
      await commit();
      return answer;
    } catch (error) {
      await rollback();
      throw error;
    }
  }

  /** Statements that begin and end their own transactions. */
  async script(text: string): Promise<void> {
    const client = await this.#connect();
    await client.query(text);
  }

  /**
   * A transaction of one call of a function of the engine, by its name and positions or names of arguments. It is repeated, as
   * the refusal asks for, while a server has what it needs locked for a moment.
   */
  async call<T>(call: string, values: readonly unknown[] = []): Promise<T> {
    const until = monotonicMs() + REPEATED_MS;
    for (;;) {
      try {
        return await this.transaction(async (query) => {
          const [row] = await query<{ answer: T }>(`select ${this.#database.schema}.${call} as answer`, values);
          return row?.answer as T;
        });
      } catch (error) {
        const isBusy = error instanceof SqlRefusal && error.reason === 'CONTENTION';
        if (!isBusy || monotonicMs() > until) throw error;
        await pause(20);
      }
    }
  }

  async create(type: string, input: unknown = null, options: object = {}): Promise<string> {
    return await this.call('create_execution($1, $2, $3, $4)', ['default', type, json(input), json(options)]);
  }

  async publish(type: string, payload: unknown = null, options: object = {}): Promise<string> {
    return await this.call('publish_event($1, $2, $3, $4)', ['default', type, json(payload), json(options)]);
  }

  async complete(claim: Claim, result: unknown = null, options: object = {}): Promise<unknown> {
    return await this.call(`complete_execution(${HELD}, $4, $5)`, [...heldBy(claim), json(result), json(options)]);
  }

  /** The backend dies in the middle of whatever it is at. */
  async kill({ backend }: SqlTransaction): Promise<void> {
    await this.asOwner('select pg_terminate_backend($1, 5000)', [backend]);
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.map((client) => client.end().catch(() => undefined)));
    await this.#owner.query(`drop owned by ${this.role}; drop role ${this.role}`);
    await this.#owner.end();
  }

  async #connect(): Promise<pg.Client> {
    const url = new URL(this.#database.url);
    url.username = this.role;
    url.password = this.role;
    const client = new pg.Client({ connectionString: url.href });
    client.on('error', () => undefined);
    await client.connect();
    this.#all.push(client);
    return client;
  }
}

function refused(error: pg.DatabaseError): never {
  if (error.code?.startsWith('TR') && error.detail) throw new SqlRefusal(error.code, error.message, error.detail);
  throw error;
}

/** The refusal of a call; fails the test when there was none. */
export async function sqlRefusal(call: Promise<unknown>): Promise<SqlRefusal> {
  const error = await call.then(
    () => new Error('it was not refused'),
    (reason: unknown) => reason,
  );
  if (error instanceof SqlRefusal) return error;
  throw error;
}
