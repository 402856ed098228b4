/**
 * The pool of connections and the translation of Postgres failures into the engine's errors.
 *
 * A statement here is one transaction of its own. What Postgres rolled back for certain (deadlock, serialization
 * failure, lock timeout) is sent again a bounded number of times; a connection lost under way is not, because the
 * commit may have happened: the caller gets DATABASE_UNAVAILABLE and repeats under its own idempotency.
 */
import pg from 'pg';
import { EngineError } from '../domain/errors.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import { noteStatement } from './failed-statement.js';
import { render, type Statement } from './statement.js';
import { StatementMeter } from './statement-meters.js';

export { statementOf } from './failed-statement.js';

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

interface Prepared {
  readonly text: string;
  readonly meter: StatementMeter;
}

export class Database implements Runner {
  readonly schema: string;
  readonly #pool: pg.Pool;
  readonly #prepared = new Map<Statement, Prepared>();
  /** Called when a row found no partition; makes what is missing. Set by the repository. */
  onMissingPartition: (() => Promise<void>) | undefined;
  /** Told of every statement that is sent; told by what it answers how it went. Set by who wants to know. */
  onStatement: ((name: string) => ((error?: unknown) => void) | undefined) | undefined;
  /** Statements sent so far, for the idle budget and the benchmark. */
  sent = 0;
  /** How often all connections were in use when another one was asked for. */
  waits = 0;

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
    const prepared = this.#prepare(made);
    for (let attempt = 1; ; attempt++) {
      this.#countWait();
      try {
        return await this.#send<R>(this.#pool, made, prepared, values);
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
    this.#countWait();
    try {
      return await this.#pool.connect();
    } catch (error) {
      throw translate(error, 'session');
    }
  }

  async close(): Promise<void> {
    await this.#pool.end();
  }

  /** Of every statement sent so far. */
  get meters(): readonly StatementMeter[] {
    return [...this.#prepared.values()].map(({ meter }) => meter);
  }

  /** The pool at this moment. `waiting`: asked for a connection and have none. */
  get connections(): { readonly used: number; readonly idle: number; readonly most: number; readonly waiting: number } {
    const { totalCount, idleCount, waitingCount, options } = this.#pool;
    return { used: totalCount - idleCount, idle: idleCount, most: options.max, waiting: waitingCount };
  }

  #countWait(): void {
    if (this.#pool.idleCount === 0 && this.#pool.totalCount >= this.#pool.options.max) this.waits++;
  }

  async #once<T>(body: (runner: Runner) => Promise<T>): Promise<T> {
    this.#countWait();
    const client = await this.#pool.connect();
    let broken = false;
    const runner: Runner = {
      query: <R extends object>(made: Statement, values: readonly unknown[] = []) =>
        this.#send<R>(client, made, this.#prepare(made), values),
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

  async #send<R extends object>(
    to: pg.Pool | pg.PoolClient,
    { name }: Statement,
    { text, meter }: Prepared,
    values: readonly unknown[],
  ): Promise<R[]> {
    this.sent++;
    const begunMs = monotonicMs();
    const ended = this.onStatement?.(name);
    try {
      // The two types have it in common, but not in their overloads.
      const { rows } = await (to as pg.Pool).query<R>({ name, text, values: values as unknown[] });
      ended?.();
      return rows;
    } catch (error) {
      noteStatement(error, name);
      meter.failed(error);
      ended?.(error);
      throw error;
    } finally {
      meter.times.observe((monotonicMs() - begunMs) / 1_000);
    }
  }

  #prepare(made: Statement): Prepared {
    let prepared = this.#prepared.get(made);
    if (prepared === undefined) {
      prepared = { text: render(made, this.schema), meter: new StatementMeter(made.name) };
      this.#prepared.set(made, prepared);
    }
    return prepared;
  }
}

function parserFor(oid: number, format?: 'text' | 'binary'): unknown {
  if (oid === INT8) return BigInt;
  if (oid === TIMESTAMPTZ) return parseInstant;
  return pg.types.getTypeParser(oid, format as 'text');
}

const parseAnyInstant = pg.types.getTypeParser(TIMESTAMPTZ, 'text') as (text: string) => Date;
const UTC = /^[12]\d{3}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00$/;
/** Instants read last, by their text: rows of one answer hold the same few. Nobody changes them. */
const instants = new Map<string, Date>();
const MOST_INSTANTS = 256;

/** The usual form, in UTC, goes a shorter way than through the driver's parser; everything else goes through it. */
function parseInstant(text: string): Date {
  let instant = instants.get(text);
  if (instant === undefined) {
    instant = UTC.test(text) ? new Date(utcMs(text)) : parseAnyInstant(text);
    if (instants.size >= MOST_INSTANTS) instants.clear();
    instants.set(text, instant);
  }
  return instant;
}

/** Milliseconds of a text such as `2026-05-01 12:00:00.123456+00`, without what is less than one. */
function utcMs(text: string): number {
  const digits = (from: number, to: number) => {
    let value = 0;
    for (let i = from; i < to; i++) value = 10 * value + text.charCodeAt(i) - ZERO;
    return value;
  };
  const point = 19;
  const fraction = Math.min(point + 4, text.length - 3);
  const ms = fraction > point + 1 ? digits(point + 1, fraction) * 10 ** (point + 4 - fraction) : 0;
  const day = Date.UTC(digits(0, 4), digits(5, 7) - 1, digits(8, 10));
  return day + ((digits(11, 13) * 60 + digits(14, 16)) * 60 + digits(17, 19)) * 1_000 + ms;
}

const ZERO = '0'.charCodeAt(0);

function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : undefined;
}

/** Serialization failure, deadlock, lock timeout: certainly rolled back, so sending it again is safe. */
function isRolledBack(error: unknown): boolean {
  return ['40001', '40P01', '55P03'].includes(sqlState(error) ?? '');
}

/** The text of it depends on the database's language; that a broken check names its constraint does not. */
function isMissingPartition(error: unknown): boolean {
  return sqlState(error) === '23514' && (error as { constraint?: unknown }).constraint === undefined;
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
