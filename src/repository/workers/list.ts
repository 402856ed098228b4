/** The registry of workers with the leases they hold. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** Not seen for so long, which is three heartbeat intervals, a worker is stale. */
export const STALE_MS = 90_000;

const list = statement(
  'workers.list',
  `select w.*, k.leases
   from (
     select w.namespace, w.id, w.name, w.lanes, w.types, w.capabilities, w.max_concurrency, w.labels, w.drain_reason,
       w.started_at, w.seen_at,
       case when w.seen_at < clock_timestamp() - $8::bigint * interval '1 ms' then 3 else w.state end::int as state
     from {schema}.worker w
     where w.namespace = $1::int and (w.name, w.id) > ($2::text, $3::text)
       and ($4::text is null or w.name = $4::text) and ($5::text[] is null or w.id = any ($5::text[]))
       and ($6::text is null or $6::text = any (w.lanes))
     order by w.name, w.id) w
   cross join lateral (
     select count(*)::int as leases from {schema}.lease l where l.worker = w.id and l.namespace = w.namespace) k
   where $7::int[] is null or w.state = any ($7::int[])
   order by w.name, w.id limit $9::int`,
);

export interface WorkerRow {
  readonly namespace: number;
  readonly id: string;
  readonly name: string;
  readonly lanes: readonly string[];
  readonly types: readonly string[];
  readonly capabilities: readonly string[];
  readonly max_concurrency: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly drain_reason: string;
  readonly started_at: Date;
  readonly seen_at: Date;
  /** Stale before draining: who is not there does neither. */
  readonly state: number;
  readonly leases: number;
}

export interface WorkerPage {
  readonly namespace: number;
  /** Null: any. */
  readonly name: string | null;
  readonly instances: readonly string[] | null;
  readonly lane: string | null;
  readonly states: readonly number[] | null;
  /** Name and instance that the page before ended with. */
  readonly after: readonly [string, string];
  readonly limit: number;
}

/** By name and instance. */
export function listWorkers(runner: Runner, page: WorkerPage): Promise<WorkerRow[]> {
  const { namespace, after, name, instances, lane, states, limit } = page;
  return runner.query<WorkerRow>(list, [namespace, ...after, name, instances, lane, states, STALE_MS, limit]);
}
