/**
 * Whether something stands between this process and Postgres, and whether it hands sessions around.
 *
 * A pooler tells its own number where Postgres would tell that of the backend. If two sessions that are open at once have
 * the same backend, it pools by transaction or by statement. Then a statement that was prepared must still be found on
 * whatever backend comes next: PgBouncer does that since 1.21, where max_prepared_statements is not 0.
 */
import pg from 'pg';

export interface Pooler {
  /** Undefined: Postgres itself answers. */
  readonly kind: 'session' | 'transaction' | undefined;
  /** Why prepared statements do not work, in the words of whoever refuses them. */
  readonly refusal: string | undefined;
}

const ROUNDS = 3;
/** The same everywhere, or one session could not know the other's. */
const PREPARED = { name: 'tailrace_probe', text: 'select pg_backend_pid() as pid' };

export async function findPooler(url: string): Promise<Pooler> {
  const clients = [session(url), session(url)] as const;
  try {
    await Promise.all(clients.map((client) => client.connect()));
    const [one, other] = clients;
    // One after the other, so that a pool of one backend is enough for both.
    const pids: number[][] = [];
    for (let round = 0; round < ROUNDS; round++) pids.push([await pidOf(one), await pidOf(other)]);
    const told = (one as unknown as { processID: number | null }).processID;
    const shared = new Set(pids.flat()).size !== 2 || pids.some(([first, second]) => first === second);
    const kind = shared ? 'transaction' : told === pids[0]?.[0] ? undefined : 'session';
    return { kind, refusal: undefined };
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string };
    // Prepared twice, or never: on another backend than it was.
    if (code === '26000' || code === '42P05') return { kind: 'transaction', refusal: message };
    throw error;
  } finally {
    await Promise.allSettled(clients.map((client) => client.end()));
  }
}

async function pidOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>(PREPARED);
  return rows[0]?.pid ?? 0;
}

function session(url: string): pg.Client {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'tailrace probe',
    connectionTimeoutMillis: 5_000,
    query_timeout: 5_000,
  });
  return client.on('error', () => undefined);
}
