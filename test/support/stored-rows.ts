/** How much there is of everything: what a call that is refused must not change. */
import type pg from 'pg';
import { eventually } from './eventually.js';
import type { TestDatabase } from './postgres.js';

/** What follows commits and time by itself, and when tokens and workers were last seen. */
const MOVING = new Set([
  'log_run',
  'log_tally',
  'key_walk',
  'side_walk',
  'state_count',
  'flow_count',
  'event_count',
  'counted',
  'passing_frame',
  'follow_up',
]);

/** Rows by table, and what rises with every change; once all has been done that follows from what was committed. */
export async function storedRows(client: pg.Client, { schema }: TestDatabase): Promise<object> {
  await eventually(async () => {
    const { rowCount } = await client.query(`select 1 from ${schema}.follow_up limit 1`);
    return rowCount === 0;
  });
  const tables = await client.query<{ name: string }>(
    `select c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where n.nspname = $1 and c.relkind in ('r', 'p') and not c.relispartition order by 1`,
    [schema],
  );
  const counts = tables.rows
    .filter(({ name }) => !MOVING.has(name))
    .map(({ name }) => `(select count(*) from ${schema}.${name}) as ${name}`);
  const { rows } = await client.query<object>(
    `select ${counts.join(', ')}, (select version from ${schema}.registry) as version`,
  );
  return rows[0] ?? {};
}
