/** Which attempt a reader means, and how far its stream is. */
import type { Runner } from '../database.js';
import { isExecutionShown } from '../namespaces/shown.js';
import { statement } from '../statement.js';

const find = statement(
  'frames.find',
  `select t.last, h.durable, h.version, h.passing, clock_timestamp() as now
   from {schema}.execution e
   left join lateral (select x.attempt from {schema}.lease x where x.execution = e.id offset 0) l on true
   left join lateral (select x.number from {schema}.parked x where x.execution = e.id offset 0) k on true
   left join lateral (
     select x.number from {schema}.attempt x where x.execution = e.id order by x.number desc limit 1) a on true
   cross join lateral (select coalesce(l.attempt, k.number, a.number, 0) as last) t
   left join lateral (
     select x.durable, x.version, x.passing from {schema}.frame_head x
     where x.execution = e.id and x.attempt = case when $3::int = 0 then t.last else $3::int end offset 0) h on true
   where e.id = $2::uuid and e.namespace = $1::int and ${isExecutionShown('e.id', '$1::int')}`,
);

export interface FoundStream {
  /** Number of the execution's last attempt; 0 when there was none. */
  readonly last: number;
  readonly durable: number;
  readonly version: number;
  readonly passing: number;
  readonly now: Date;
}

/** `attempt` 0: the last one. Undefined when this namespace has no such execution. */
export async function findStream(
  runner: Runner,
  namespace: number,
  execution: string,
  attempt: number,
): Promise<FoundStream | undefined> {
  interface Row {
    readonly last: number;
    readonly durable: number | null;
    readonly version: number | null;
    readonly passing: bigint | null;
    readonly now: Date;
  }
  const [row] = await runner.query<Row>(find, [namespace, execution, attempt]);
  if (row === undefined) return undefined;
  const { last, durable, version, passing, now } = row;
  return { last, durable: durable ?? 0, version: version ?? 0, passing: Number(passing ?? 0n), now };
}
