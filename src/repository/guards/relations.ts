/** How many tables there are to lock, how far ahead partitions reach, and what vacuum has not got to. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/**
 * A partition of executions ends at an id of version 7, whose first 48 bits are milliseconds. Rows that are dead are of the
 * tables whose rows come and go: a few thousand are usual, as many as a hundred thousand are not.
 */
const read = statement(
  'guards.relations',
  `select
     (select count(*)::int from pg_class c where c.relnamespace = to_regnamespace('{schema}') and c.relkind in ('r', 'i'))
       as relations,
     (select count(*)::int from pg_class c
      where c.relnamespace = to_regnamespace('{schema}') and c.relkind = 'r' and c.relispartition) as partitions,
     (select max(('x' || replace(left(u.bound, 13), '-', ''))::bit(48)::bigint)
      from pg_inherits i join pg_class p on p.oid = i.inhrelid
        cross join lateral (select substring(pg_get_expr(p.relpartbound, p.oid) from 'TO \\(''([0-9a-f-]{36})''\\)') as bound) u
      where i.inhparent = to_regclass('{schema}.execution') and u.bound is not null) as partitions_until_ms,
     (extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms,
     (select coalesce(jsonb_agg(jsonb_build_object('table', t.relname, 'dead', t.n_dead_tup, 'live', t.n_live_tup)), '[]')
      from pg_stat_user_tables t
      where t.schemaname = '{schema}' and t.n_dead_tup > 100000 and t.n_dead_tup > t.n_live_tup) as bloated`,
);

export interface Relations {
  /** Tables and indexes of the schema. */
  readonly relations: number;
  readonly partitions: number;
  /** Where the last partition of executions ends, in milliseconds since 1970. */
  readonly partitions_until_ms: bigint | null;
  readonly now_ms: bigint;
  readonly bloated: readonly { readonly table: string; readonly dead: number; readonly live: number }[];
}

export async function readRelations(runner: Runner): Promise<Relations> {
  const [row] = await runner.query<Relations>(read);
  if (row === undefined) throw new Error('the database says nothing of its tables');
  return row;
}
