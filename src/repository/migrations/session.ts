/**
 * A connection of its own for work on the schema, outside the pool: its session settings and advisory locks die
 * with it, so nothing is left behind for a later statement, and a crash frees every lock.
 */
import pg from 'pg';
import { StartError } from '../../domain/start-error.js';
import { pause } from '../../runtime/clock.js';

const POLL_MS = 50;
const CONNECT_MS = 10_000;

export async function withSession<T>(url: string, body: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'tailrace-migrate',
    connectionTimeoutMillis: CONNECT_MS,
  });
  // A connection lost while idle is noticed by the next query, which then fails.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw new StartError(`the database cannot be reached: ${reachProblem(error)}`, { cause: error });
  }
  try {
    return await body(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Node reports a refused connection to several addresses as one error without a message. */
function reachProblem(error: unknown): string {
  const first = error instanceof AggregateError ? (error.errors[0] as unknown) : error;
  return first instanceof Error ? first.message : String(first);
}

/**
 * Holds the advisory lock of this name while body runs.
 *
 * Polled, never awaited inside Postgres: a blocked pg_advisory_lock() keeps its snapshot, and CREATE INDEX
 * CONCURRENTLY in the process that holds the lock waits for all older snapshots. The two would wait for ever.
 */
export async function withLock<T>(
  client: pg.Client,
  name: string,
  body: () => Promise<T>,
  options: { readonly signal?: AbortSignal | undefined; readonly onWait?: (() => void) | undefined } = {},
): Promise<T> {
  for (let tries = 0; !(await tryLock(client, name)); tries++) {
    if (tries === 0) options.onWait?.();
    await pause(POLL_MS, options.signal);
    if (options.signal?.aborted) throw new StartError('stopped while another process migrates this database');
  }
  try {
    return await body();
  } finally {
    await client.query('select pg_advisory_unlock(hashtextextended($1, 0))', [name]).catch(() => undefined);
  }
}

async function tryLock(client: pg.Client, name: string): Promise<boolean> {
  const { rows } = await client.query<{ held: boolean }>(
    'select pg_try_advisory_lock(hashtextextended($1, 0)) as held',
    [name],
  );
  return rows[0]?.held === true;
}
