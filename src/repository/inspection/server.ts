/** What the database says of itself and of the log. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** Rows without a position are those above the sequencer's top, and those that filled its holes. */
const read = statement(
  'inspection.server',
  `with last as materialized (select r.top, r.holes from {schema}.log_run r order by r.base desc limit 1)
   select (select max(m.version) from {schema}.migration m) as schema_version,
     current_setting('server_version') as database_version, clock_timestamp() as now,
     (extract(epoch from clock_timestamp() - least(
       (select l.at from {schema}.log l where l.seq > coalesce((select last.top from last), 0) order by l.seq limit 1),
       (select min(x.at) from last cross join lateral unnest(last.holes) h (hole)
         cross join lateral (
           select l.at from {schema}.log l where l.seq >= lower(h.hole) and l.seq < upper(h.hole)
           order by l.seq limit 1) x)
     )) * 1000)::double precision as lag_ms`,
);

export interface DatabaseFacts {
  readonly schema_version: number | null;
  readonly database_version: string;
  readonly now: Date;
  /** Age of the oldest committed log row that has no position yet; null when all have one. */
  readonly lag_ms: number | null;
}

export async function readDatabaseFacts(runner: Runner): Promise<DatabaseFacts> {
  const [row] = await runner.query<DatabaseFacts>(read);
  if (row === undefined) throw new Error('the database says nothing of itself');
  return row;
}
