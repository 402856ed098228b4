/** A pool of connections whose end is no error: databases here are dropped with their last sessions. */
import pg from 'pg';

export interface BenchPool {
  readonly pool: pg.Pool;
  end(): Promise<void>;
}

export function openPool(
  connectionString: string,
  max: number,
  settings: Readonly<Record<string, string>> = {},
): BenchPool {
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}=${value}`);
  const pool = new pg.Pool({ connectionString, max, options: options.join(' ') });
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return { pool, end: () => pool.end() };
}
