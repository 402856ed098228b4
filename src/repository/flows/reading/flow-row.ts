/**
 * A flow as it stands: its row, and beside it what is counted and what happened first and last, all of one snapshot.
 *
 * Nothing is counted over members: how many stand in which state was folded from the log, up to `counted`. What is open
 * (joins, dead letters) is counted through indexes that hold nothing else.
 */

/** The execution that a failure is told of: one that failed or expired, before one that was canceled, before one skipped. */
function failure(order: 'asc' | 'desc'): string {
  const first = (states: string) =>
    `(select x.execution from {schema}.flow_failed x where x.flow = f.id and ${states} order by x.ended_at ${order} limit 1)`;
  return `select w.execution, o.reason, o.ended_at, o.failure_class, o.failure_code, o.message, c.type
     from (select coalesce(${first('x.state in (8, 10)')},
       ${first('x.state = 9')},
       ${first('true')}) as execution) w
     cross join lateral (select y.* from {schema}.outcome y where y.execution = w.execution limit 1) o
     cross join lateral (select y.type from {schema}.claim_class y where y.id = o.class limit 1) c`;
}

export const LAST_FAILURE = failure('desc');

/** Transactions looked at for one that has its positions; only what committed in the last moments has none. */
const UNNUMBERED = 1_000;

/** The newest entry of the flow that has a position. How a position follows from a row of the log: log/history.ts. */
const LAST_ENTRY = `select (n.base + before.n + mine.idx - 1)::bigint as position, l.at
     from (
       select x.seq, r.base, r.lo, r.holes
       from (select y.seq from {schema}.log_flow y where y.flow = f.id order by y.seq desc limit ${UNNUMBERED}) x
       cross join lateral (
         select r.base, r.lo, r.holes from {schema}.log_run r
         where r.hi >= x.seq and r.lo <= x.seq and (r.lo = r.hi or not x.seq <@ any (r.holes))
         order by r.hi limit 1) r
       order by x.seq desc limit 1) n
     cross join lateral (select y.* from {schema}.log y where y.seq = n.seq limit 1) l
     cross join lateral (
       select coalesce(sum(y.n), 0) as n from {schema}.log y
       where y.seq >= n.lo and y.seq < n.seq and not y.seq <@ any (n.holes)) before
     cross join lateral (
       select max(y.idx) as idx from unnest(l.flow, l.execution) with ordinality y (flow, execution, idx)
       where coalesce(y.flow, y.execution) = f.id) mine`;

/** Rows of unrouted events looked at. */
const UNROUTED_COUNTED = 100_000;

/**
 * Joins to `f`, rows of the table. A flow that an event started was made in that event's instant; one that was created is
 * older than its first event.
 */
export const FLOW_JOINS = `
   cross join lateral (
     select coalesce(jsonb_object_agg(x.state, x.n) filter (where x.state between 1 and 11), '{}') as counts,
       coalesce(sum(x.n) filter (where x.state = 12), 0)::bigint as events
     from {schema}.flow_count x where x.flow = f.id) k
   cross join lateral (
     select count(distinct y.event) as n from (
       select x.event from {schema}.unrouted x where x.flow = f.id limit ${UNROUTED_COUNTED}) y) w
   left join lateral (
     select coalesce(y.event_id, y.id::text) as id from (
       select x.* from {schema}.event x where x.flow = f.id order by x.id limit 1) y
     where y.published_at = f.created_at) root on true
   cross join lateral (
     select count(*) as n from {schema}.barrier x where x.flow = f.id and x.flow is not null and x.state = 1) j
   cross join lateral (
     select count(*) as n from {schema}.dead_letter x
     where x.flow = f.id and x.flow is not null and x.state in (1, 2)) d
   left join lateral (${failure('asc')}) bad on true
   left join lateral (${LAST_FAILURE}) worse on true
   left join lateral (${LAST_ENTRY}) entry on true`;

const FAILURE_COLUMNS = [
  'execution',
  'type',
  'reason',
  'ended_at',
  'failure_class',
  'failure_code',
  'message',
] as const;

/** A failure that stands at `alias`, as one JSON object; null where there is none. */
export function failureObject(alias: string): string {
  const fields = FAILURE_COLUMNS.map((column) => `'${column}', ${alias}.${column}`).join(', ');
  return `case when ${alias}.execution is not null then jsonb_build_object(${fields}) end`;
}

export const FLOW_COLUMNS = `f.id, f.name, f.tags, f.state::int as state, f.settled_at, f.sealed_at, f.revision,
     f.failure_policy::int as failure_policy, f.cancel_now, f.cancel_grace_ms, f.cancel_accepts_late, f.seal_after_idle_ms,
     f.created_at, f.ended_at, f.canceled_reason, k.counts, k.events, w.n as unrouted, root.id as root_event,
     (select c.position from {schema}.counted c) as counted,
     j.n as joins, d.n as letters, ${failureObject('bad')} as first_failure, ${failureObject('worse')} as last_failure,
     entry.position as last_position, entry.at as last_at`;

/** The end of a member. As JSON: its time is text. */
export interface FailureRow {
  readonly execution: string;
  readonly type: string;
  readonly reason: number | null;
  readonly ended_at: string;
  readonly failure_class: number | null;
  readonly failure_code: string | null;
  readonly message: string | null;
}

export interface FlowRow {
  readonly id: string;
  readonly name: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly state: number;
  /** Null while it is not settled, or that was not looked into yet. */
  readonly settled_at: Date | null;
  readonly sealed_at: Date | null;
  readonly revision: bigint;
  readonly failure_policy: number;
  readonly cancel_now: boolean;
  readonly cancel_grace_ms: bigint;
  readonly cancel_accepts_late: boolean;
  readonly seal_after_idle_ms: bigint | null;
  readonly created_at: Date;
  readonly ended_at: Date | null;
  readonly canceled_reason: string | null;
  /** Members by state; states without any may be missing, or hold 0. */
  readonly counts: Readonly<Record<string, number>>;
  /** Events of it, counted as members are. */
  readonly events: bigint;
  /** Of them, those whose reactions are not all made. */
  readonly unrouted: bigint;
  /** The event that started it, as it is known outside. */
  readonly root_event: string | null;
  /** Position of the log up to which they are folded. */
  readonly counted: bigint;
  /** Open joins, and dead letters that are open or redriving. */
  readonly joins: bigint;
  readonly letters: bigint;
  readonly first_failure: FailureRow | null;
  readonly last_failure: FailureRow | null;
  /** Of its last log entry; null in the moment before it has one. */
  readonly last_position: bigint | null;
  readonly last_at: Date | null;
}
