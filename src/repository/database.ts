/**
 * The pool of connections and the translation of Postgres failures into the engine's errors.
 *
 * A statement here is one transaction of its own. What Postgres rolled back for certain (deadlock, serialization
 * failure, lock timeout) is sent again a bounded number of times; a connection lost under way is not, because the
 * commit may have happened: the caller gets DATABASE_UNAVAILABLE and repeats under its own idempotency.
 */
import pg from 'pg';
import { EngineError } from '../domain/errors.js';
import { pause } from '../runtime/clock.js';
import { render, type Statement } from './statement.js';

const INT8 = 20;
const TIMESTAMPTZ = 1184;
const ATTEMPTS = 5;

export interface DatabaseOptions {
  readonly url: string;
  readonly schema: string;
  /** Connections at most, 2–100. Default 10: two batches in flight per kind, and readers. */
  readonly connections?: number;
  /** Shown in pg_stat_activity. */
  readonly name?: string;
  /**
   * How long an answer may take before the connection counts as lost, in milliseconds. Longer than the role's statement
   * timeout, so that it only ends what a lost network keeps for ever. Default 40,000.
   */
  readonly answerMs?: number;
}

export type Row = Record<string, unknown>;

/** Runs statements; either the pool, or one connection inside a transaction. */
export interface Runner {
  query<R extends object = Row>(made: Statement, values?: readonly unknown[]): Promise<R[]>;
}

export class Database implements Runner {
  readonly schema: string;
  readonly #pool: pg.Pool;
  readonly #texts = new Map<Statement, string>();
  /** Called when a row found no partition; makes what is missing. Set by the repository. */
  onMissingPartition: (() => Promise<void>) | undefined;
  /** Statements sent so far, for the idle budget and the benchmark. */
  sent = 0;

  constructor(options: DatabaseOptions) {
    this.schema = options.schema;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: options.connections ?? 10,
      application_name: options.name ?? 'tailrace',
      connectionTimeoutMillis: 5_000,
      query_timeout: options.answerMs ?? 40_000,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      types: { getTypeParser: parserFor as typeof pg.types.getTypeParser },
    });
    // A connection that breaks must not end the process, whether it lies idle or is out for a transaction, where the
    // pool does not listen. Whoever uses it is told by its query; the next one opens another.
    this.#pool.on('error', () => undefined);
    this.#pool.on('connect', (client) => client.on('error', () => undefined));
  }

  async query<R extends object = Row>(made: Statement, values: readonly unknown[] = []): Promise<R[]> {
    for (let attempt = 1; ; attempt++) {
      try {
        this.sent++;
        const result = await this.#pool.query<R>(this.#config(made, values));
        return result.rows;
      } catch (error) {
        if (isMissingPartition(error) && this.onMissingPartition && attempt === 1) {
          await this.onMissingPartition();
          continue;
        }
        if (!isRolledBack(error) || attempt >= ATTEMPTS) throw translate(error, made.name);
        await pause(attempt * 5);
      }
    }
  }

  /** Several statements in one transaction, sent again from the start when Postgres rolled it back. */
  async transaction<T>(body: (runner: Runner) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(body);
      } catch (error) {
        if (!isRolledBack(error) || attempt >= ATTEMPTS) throw translate(error, 'transaction');
        await pause(attempt * 5);
      }
    }
  }

  /** A connection of its own for what needs a session: LISTEN, vacuum, advisory locks. The caller must release it. */
  async session(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw translate(error, 'session');
    }
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  async #once<T>(body: (runner: Runner) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let broken = false;
    const runner: Runner = {
      query: async <R extends object>(made: Statement, values: readonly unknown[] = []) => {
        this.sent++;
        return (await client.query<R>(this.#config(made, values))).rows;
      },
    };
    try {
      await client.query('begin');
      const result = await body(runner);
      await client.query('commit');
      return result;
    } catch (error) {
      broken = isUnavailable(error);
      if (!broken) {
        await client.query('rollback').catch(() => {
          broken = true;
        });
      }
      throw error;
    } finally {
      client.release(broken);
    }
  }

  #config(made: Statement, values: readonly unknown[]): pg.QueryConfig {
    let text = this.#texts.get(made);
    if (text === undefined) {
      text = render(made, this.schema);
      this.#texts.set(made, text);
    }
    return { name: made.name, text, values: values as unknown[] };
  }
}

function parserFor(oid: number, format?: 'text' | 'binary'): unknown {
  if (oid === INT8) return BigInt;
  if (oid === TIMESTAMPTZ) return parseInstant;
  return pg.types.getTypeParser(oid, format as 'text');
}

const parseAnyInstant = pg.types.getTypeParser(TIMESTAMPTZ, 'text') as (text: string) => Date;
const UTC = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00$/;

/** The usual form, in UTC, goes a shorter way than through the driver's parser; everything else goes through it. */
function parseInstant(text: string): Date {
  if (!UTC.test(text)) return parseAnyInstant(text);
  return new Date(`${text.slice(0, 10)}T${text.slice(11, Math.min(23, text.length - 3))}Z`);
}

function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Serialization failure, deadlock, lock timeout: certainly rolled back, so sending it again is safe. */
function isRolledBack(error: unknown): boolean {
  return ['40001', '40P01', '55P03'].includes(sqlState(error) ?? '');
}

function isMissingPartition(error: unknown): boolean {
  return sqlState(error) === '23514' && /no partition of relation/.test((error as Error).message);
}

const RETRY_MS = 1_000;

/**
 * Classes 08 (connection), 28 and 3D (no way in), 53 (resources), 57P0x (shutdown), a statement that took too long, a
 * standby, and everything the socket itself reports.
 */
function isUnavailable(error: unknown): boolean {
  const code = sqlState(error);
  if (code === undefined) {
    return (
      error instanceof Error &&
      /connection terminated|timeout exceeded|read timeout|not queryable|client was closed/i.test(error.message)
    );
  }
  return /^(08|28|3D|53|57P|57014|25006|ECONN|EPIPE|ENOTFOUND|ETIMEDOUT|EHOST|ENET|EAI_)/.test(code);
}

function translate(error: unknown, name: string): unknown {
  if (error instanceof EngineError) return error;
  if (isRolledBack(error)) {
    return new EngineError('CONTENTION', `${name} met others on the same rows too often; repeat it`, {
      retryDelayMs: 50,
      cause: error,
    });
  }
  if (isUnavailable(error)) {
    return new EngineError('DATABASE_UNAVAILABLE', 'the database does not answer; repeat the call', {
      retryDelayMs: RETRY_MS,
      cause: error,
    });
  }
  return error;
}
