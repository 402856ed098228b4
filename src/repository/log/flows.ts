/** What those who follow flows need to know of them beside the log. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/**
 * State, head and the flow's last entry in one snapshot: entries up to the head are in the state already, so a reader
 * who goes on from the head misses nothing. The last row is found by the end of an index and located in its run, like
 * any row (history.ts); it has no position while it is not numbered.
 */
const standings = statement(
  'log.flow-standings',
  `select f.id, f.namespace, f.state, f.settled_at, i.id as incarnation, h.head, last.seq is not null as spoken_of,
     (r.base + before.n + last.place - 1)::bigint as last_position
   from {schema}.flow f cross join {schema}.log_incarnation i cross join {schema}.log_head() h
   left join lateral (
     select l.seq, (select max(e.place) from unnest(l.flow) with ordinality e (flow, place) where e.flow = f.id) as place
     from (select seq from {schema}.log_flow where flow = f.id order by seq desc limit 1) newest
     join {schema}.log l on l.seq = newest.seq) last on true
   left join lateral (
     select r.base, r.lo, r.hi, r.holes from {schema}.log_run r
     where r.hi >= last.seq and r.lo <= last.seq and (r.lo = r.hi or not last.seq <@ any (r.holes))
     order by r.hi limit 1) r on true
   left join lateral (
     select coalesce(sum(e.n), 0) as n from {schema}.log e
     where e.seq >= r.lo and e.seq < last.seq and not e.seq <@ any (r.holes)) before on true
   where f.id = any ($1::uuid[])`,
);

const names = statement(
  'log.flow-names',
  'select f.id, f.name, f.tags from {schema}.flow f where f.id = any ($1::uuid[])',
);

/** Where a flow and the log stand, in one snapshot. */
export interface FlowStanding {
  readonly id: string;
  readonly namespace: number;
  readonly state: number;
  /** Null while something of it is live. */
  readonly settledAt: Date | null;
  /** The log's. */
  readonly incarnation: string;
  readonly head: bigint;
  /** Position of the flow's last entry, 0 if the log has none; undefined while that waits for its position. */
  readonly lastPosition: bigint | undefined;
}

/** What its entries show of a flow; it never changes. */
export interface FlowNames {
  readonly id: string;
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
}

interface StandingRow {
  id: string;
  namespace: number;
  state: number;
  settled_at: Date | null;
  incarnation: string;
  head: bigint;
  spoken_of: boolean;
  last_position: bigint | null;
}

/** In no order; what does not exist is missing. */
export async function readFlowStandings(runner: Runner, ids: readonly string[]): Promise<FlowStanding[]> {
  const rows = await runner.query<StandingRow>(standings, [ids]);
  return rows.map((row) => ({
    id: row.id,
    namespace: row.namespace,
    state: row.state,
    settledAt: row.settled_at,
    incarnation: row.incarnation,
    head: row.head,
    lastPosition: row.spoken_of ? (row.last_position ?? undefined) : 0n,
  }));
}

/** In no order; what does not exist is missing. */
export async function readFlowNames(runner: Runner, ids: readonly string[]): Promise<FlowNames[]> {
  return await runner.query<FlowNames>(names, [ids]);
}
