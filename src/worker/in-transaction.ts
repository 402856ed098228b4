/**
 * Entries handled in a transaction of the engine's own database, together with the move of the cursor: what the handler
 * wrote is there if and only if the cursor stands behind them. So a read model in that database is exact, over crashes,
 * takeovers and resets.
 *
 * Whatever goes wrong rolls everything back. The handler's own mistakes are told with the entry, also where it caught the
 * error and left the transaction aborted; that the database is away, that two transactions met, or that the cursor cannot be
 * moved, is no entry's fault. Transactions read committed, and need nothing that a transaction-mode pooler would lose.
 *
 * The pool is the caller's: of `pg`, or anything of that shape. Its role has been granted the engine's SQL functions.
 */
import type { LogEntry } from '../../gen/tailrace/v1/log_pb.js';
import { type ConsumerContext, EntryRunner, type Group, type Ran } from './consumer-handlers.js';

/** As much of a client of `pg` as is needed here; the handler gets the pool's own. */
export interface SqlClient {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly unknown[]; readonly command?: string }>;
  /** With true the connection is not used again. */
  release(destroy?: boolean): void;
  /** A connection that breaks while no query runs says so here. */
  on?(event: 'error', listener: (error: Error) => void): unknown;
  off?(event: 'error', listener: (error: Error) => void): unknown;
}

/** As much of a pool of `pg`. */
export interface SqlPool {
  connect(): Promise<SqlClient>;
}

/** The client that a pool hands out; of overloads, the one that answers a promise. */
export type ClientOf<P extends SqlPool> = P['connect'] extends {
  (): Promise<infer C>;
  (...more: never): unknown;
}
  ? C
  : Awaited<ReturnType<P['connect']>>;

/**
 * Handles entries in order by writing through `client`, whose transaction is begun and ended for it. All of them or none:
 * where it throws, they come again in smaller groups until the one at fault is alone.
 */
export type TransactionHandler<C> = (client: C, entries: readonly LogEntry[], context: ConsumerContext) => unknown;

export interface TransactionOptions {
  /** Schema of the engine's tables, as the server was told. Default `tailrace`. */
  readonly schema?: string;
}

/** What the database says of itself: it is going away, or two transactions met and one may try again. */
const PASSING = /^(08...|57P0.|53300|40001|40P01|ECONN.*|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN)$/;
/** An earlier error has been caught by the handler and not dealt with. */
const ABORTED = '25P02';

export function inTransaction<P extends SqlPool>(
  pool: P,
  handler: TransactionHandler<ClientOf<P>>,
  { schema = 'tailrace' }: TransactionOptions = {},
): EntryRunner {
  const name = `"${schema.replaceAll('"', '""')}"`;
  const commit = `select * from ${name}.commit_entries($1, $2, $3, $4, $5, $6, $7, $8, $9)`;
  return new EntryRunner(async (group) => {
    let client: SqlClient;
    try {
      client = await pool.connect();
    } catch (thrown) {
      return { kind: 'postponed', bounded: false, thrown };
    }
    const transaction = new Transaction(client);
    try {
      return await transaction.run(group, commit, () => handler(client as ClientOf<P>, group.entries, group.context));
    } finally {
      await transaction.end();
    }
  });
}

class Transaction {
  readonly #client: SqlClient;
  readonly #onError = (error: unknown) => {
    this.#broken ??= error;
  };
  #broken: unknown;
  #open = false;

  constructor(client: SqlClient) {
    this.#client = client;
    client.on?.('error', this.#onError);
  }

  async run(group: Group, commit: string, handle: () => unknown): Promise<Ran> {
    try {
      await this.#client.query('begin isolation level read committed');
      this.#open = true;
    } catch (thrown) {
      this.#broken ??= thrown;
      return { kind: 'postponed', bounded: false, thrown };
    }
    try {
      await handle();
      const refused = await this.#moved(commit, group);
      if (refused) return refused;
      await this.#client.query('commit');
      this.#open = false;
      return { kind: 'handled', count: group.entries.length, committed: true };
    } catch (thrown) {
      if (this.#isPassing(thrown)) return { kind: 'postponed', bounded: true, thrown };
      return { kind: 'failed', handled: 0, known: group.entries.length === 1, thrown };
    }
  }

  /** Rolls back what was not committed. */
  async end(): Promise<void> {
    if (this.#open && !this.#broken) {
      await this.#client.query('rollback').catch(this.#onError);
    }
    this.#client.off?.('error', this.#onError);
    this.#client.release(this.#broken !== undefined);
  }

  /** Why the cursor could not be moved; undefined once it is. */
  async #moved(commit: string, { holding, fromCursor, toCursor, deadLetterIds }: Group): Promise<Ran | undefined> {
    const { namespace, consumer, ownerId, part } = holding;
    const { generation, epoch } = part;
    const values = [namespace, consumer, ownerId, `${generation}`, part.part, `${epoch}`, fromCursor, toCursor];
    try {
      await this.#client.query(commit, [...values, [...deadLetterIds]]);
      return undefined;
    } catch (thrown) {
      const code = codeOf(thrown);
      if (code === ABORTED || this.#isPassing(thrown)) throw thrown;
      return { kind: 'refused', reason: reasonOf(thrown), thrown };
    }
  }

  #isPassing(thrown: unknown): boolean {
    return this.#broken !== undefined || PASSING.test(codeOf(thrown));
  }
}

function codeOf(thrown: unknown): string {
  const { code } = (thrown ?? {}) as { code?: unknown };
  return typeof code === 'string' ? code : '';
}

/** The engine's functions say theirs in the detail of the error. */
function reasonOf(thrown: unknown): string {
  const { detail } = (thrown ?? {}) as { detail?: unknown };
  try {
    const { reason } = JSON.parse(String(detail)) as { reason?: unknown };
    return typeof reason === 'string' ? reason : '';
  } catch {
    return '';
  }
}
