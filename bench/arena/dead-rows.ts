/**
 * Rows that nobody can see any more and that still lie in a database, its catalogs included, as Postgres counts them.
 * Sessions tell what they left behind when they end, and about once a second before: exact is only what is read when
 * they are gone.
 */
import pg from 'pg';
import type { Ground } from './arena.js';

export async function deadRows({ url }: Ground): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const text = 'select coalesce(sum(n_dead_tup), 0)::float8 as count from pg_stat_all_tables';
    const { rows } = await client.query<{ count: number }>(text);
    return rows[0]?.count ?? Number.NaN;
  } finally {
    await client.end();
  }
}
