/** What the tables take, and how far retention of executions and events has come. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { RetentionHold } from './part.js';

const tables = statement(
  'retention.tables',
  `select x.name, count(*) filter (where x.part)::int as partitions, coalesce(sum(x.rows), 0)::bigint as rows,
     sum(x.bytes)::bigint as bytes, sum(x.index_bytes)::bigint as index_bytes
   from (
     select coalesce(p.relname, c.relname) as name, p.oid is not null as part, greatest(c.reltuples, 0)::bigint as rows,
       b.bytes, b.index_bytes
     from pg_class c cross join lateral {schema}.stored_bytes(c.oid) b left join pg_inherits i on i.inhrelid = c.oid left join pg_class p on p.oid = i.inhparent
     where c.relnamespace = '{schema}'::regnamespace and c.relkind = 'r') x
   group by x.name order by bytes desc, x.name`,
);

const frontiers = statement(
  'retention.frontiers',
  `select r.subject, to_timestamp(r.frontier_ms / 1000.0) as frontier, r.waits_for, r.waits_since
   from {schema}.retirement r`,
);

/** Bounded: what is kept is little, and this is for people. */
const kept = statement(
  'retention.kept-work',
  `select n.name as namespace, count(*) filter (where not k.ended) as open, count(*) filter (where k.ended) as ended
   from (
     select x.namespace, exists (select from {schema}.outcome_kept o where o.execution = x.id) as ended
     from {schema}.execution_kept x limit 100000) k
   join {schema}.namespace n on n.id = k.namespace group by n.name order by n.name`,
);

export interface StoredTable {
  readonly name: string;
  /** 0: it has none. */
  readonly partitions: number;
  /** As the database estimates them. */
  readonly rows: number;
  readonly bytes: number;
  readonly indexBytes: number;
}

/** The largest first. */
export async function storedTables(runner: Runner): Promise<StoredTable[]> {
  const rows = await runner.query<{
    name: string;
    partitions: number;
    rows: bigint;
    bytes: bigint;
    index_bytes: bigint;
  }>(tables);
  return rows.map(({ name, partitions, rows: count, bytes, index_bytes }) => ({
    name,
    partitions,
    rows: Number(count),
    bytes: Number(bytes),
    indexBytes: Number(index_bytes),
  }));
}

export interface Frontiers {
  /** What was created earlier is kept only as far as it is needed. */
  readonly executions: Date | undefined;
  readonly events: Date | undefined;
  readonly holds: readonly RetentionHold[];
}

/** With what holds: readers that are waited for, and open work among what was kept. */
export async function readFrontiers(runner: Runner): Promise<Frontiers> {
  const rows = await runner.query<{
    subject: 'executions' | 'events';
    frontier: Date;
    waits_for: string;
    waits_since: Date | null;
  }>(frontiers);
  const open = await runner.query<{ namespace: string; open: bigint; ended: bigint }>(kept);
  const at = (subject: string) => rows.find((row) => row.subject === subject)?.frontier;
  return {
    executions: at('executions'),
    events: at('events'),
    holds: [
      ...rows.flatMap(({ subject, waits_for, waits_since }) =>
        waits_for === ''
          ? []
          : [{ subject, holder: waits_for, namespace: '', count: 0, since: waits_since ?? undefined }],
      ),
      ...open.flatMap(({ namespace, open: going, ended }) => [
        ...(going > 0n ? [work(namespace, 'executions that have not ended', going)] : []),
        ...(ended > 0n ? [work(namespace, 'executions that others need, or that ended lately', ended)] : []),
      ]),
    ],
  };
}

function work(namespace: string, holder: string, count: bigint): RetentionHold {
  return { subject: 'executions', holder, namespace, count: Number(count), since: undefined };
}
