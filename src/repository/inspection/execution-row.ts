/**
 * An execution as it stands: core row and every phase table in one statement, hence in one snapshot. A mover is seen
 * where it was or where it went, never in both places and never in none.
 *
 * Every table is entered by key and for one row (lateral, limit 1), so that no plan can fall for a join over history.
 */

import { type SuspensionObject, suspensionObject } from '../suspensions/reading/suspension-object.js';

/** What `attempt` and `outcome` can tell of attempts beyond this many is not counted; each was delayed or released. */
const ATTEMPTS_READ = 1_000;

/** Joins to `page (k1)`, a list of execution ids. `whole`: expression, whether failure details are wanted. */
export const EXECUTION_JOINS = `
   cross join lateral (select x.* from {schema}.execution x where x.id = page.k1 limit 1) e
   cross join lateral (
     select c.lane as lane_id, c.type, c.capabilities, n.name as lane from {schema}.claim_class c
     join {schema}.lane n on n.id = c.lane where c.id = e.class limit 1) c
   left join lateral (select x.id, x.event_id, x.payload_type, x.payload from {schema}.event x where x.id = e.event limit 1) v on true
   left join lateral (select x.name from {schema}.subscription x where x.id = e.subscription limit 1) sub on true
   cross join lateral (
     select coalesce(e.input_type, v.payload_type) as type, case when e.input_type is null then v.payload else e.input end as body) i
   left join lateral (select x.* from {schema}.ready x where x.execution = page.k1 limit 1) r on true
   left join lateral (select x.* from {schema}.scheduled x where x.execution = page.k1 limit 1) s on true
   left join lateral (select x.* from {schema}.lease x where x.execution = page.k1 limit 1) l on true
   left join lateral (select x.* from {schema}.blocked x where x.execution = page.k1 limit 1) b on true
   left join lateral (select x.* from {schema}.suspension x where x.execution = page.k1 limit 1) u on true
   left join lateral (select x.* from {schema}.parked x where x.execution = page.k1 limit 1) p on true
   left join lateral (select x.name from {schema}.budget x where x.id = coalesce(b.budget, u.budget) limit 1) budget on true
   left join lateral (select x.* from {schema}.outcome x where x.execution = page.k1 limit 1) o on true
   left join lateral (
     select x.id from {schema}.dead_letter x where x.execution = page.k1 and o.state in (8, 10) limit 1) d on true
   left join lateral (
     select x.id from (select y.id, y.redrive_of from {schema}.execution y
       where y.letter = coalesce(d.id, e.letter) offset 0) x
     where x.redrive_of = page.k1 order by x.id desc limit 1) again on true
   left join lateral (
     select x.* from (select a.* from {schema}.attempt a where a.execution = page.k1
       order by a.number desc limit ${ATTEMPTS_READ}) x
     where o.state is null and x.outcome in (2, 3, 4, 7) order by x.number desc limit 1) f on true
   left join lateral (
     select count(*) filter (where x.failure_class in (1, 4) or x.outcome = 4 and coalesce(e.count_lost, true)) failures,
       count(*) filter (where x.outcome = 4) reclaims
     from (select a.outcome, a.failure_class from {schema}.attempt a
       where a.execution = page.k1 and o.state is not null order by a.number desc limit ${ATTEMPTS_READ}) x) t on true
   left join lateral (select x.started_at from {schema}.attempt x where x.execution = page.k1 and x.number = 1) first on true
   left join lateral (
     select x.ended_at from {schema}.attempt x where x.execution = page.k1 and s.execution is not null
     order by x.number desc limit 1) last on true
   left join lateral (
     select max(x.decided_at) as at from {schema}.barrier x
     where x.downstream = page.k1 and x.kind = 1 and s.execution is not null) released on true`;

/** `inline`: expression, the size up to which contents come along; `whole`: whether failure details do. */
export function executionColumns(inline: string, whole: string): string {
  return `e.id, e.namespace, c.lane_id, c.lane, c.type, c.capabilities, e.class, e.request_id, e.tags, e.flow, e.letter,
     e.redrive_of, coalesce(e.root, e.id) as root, e.optional, e.parent, e.created_at, e.run_at as asked_run_at, e.start_by, e.deadline,
     e.timeout_ms, e.retry_max, e.retry_initial_ms, e.retry_factor, e.retry_cap_ms, e.reclaims_max, e.count_lost,
     i.type as input_type, case when octet_length(i.body) <= ${inline} then i.body end as input,
     coalesce(octet_length(i.body) > ${inline}, false) as input_omitted,
     e.failure_events, e.hops, e.batch, e.batch_index, e.batch_size, sub.name as subscription, e.subscription_version,
     coalesce(v.event_id, e.event::text) as trigger_event, e.handles, e.trace,
     case when r.execution is not null then 3 when s.execution is not null then 2 when l.execution is not null then 4
       when b.execution is not null then b.state when u.execution is not null then 5 else o.state end::int as state,
     b.barrier, b.waits_for::int as waits_for, b.place, b.gate as waits_gate, coalesce(b.budget, u.budget) as budget,
     budget.name as budget_name, e.concurrency_key, e.ordering_key, e.dead_head::int as dead_head,
     coalesce(-r.priority, s.priority, l.priority, b.priority, u.priority, e.priority)::int as priority,
     coalesce(s.run_at, b.run_at) as run_at,
     coalesce(r.attempt, s.attempt, l.attempt, b.attempt, u.attempt, o.attempt) as attempt,
     coalesce(r.failures, s.failures, l.failures, b.failures, u.failures, t.failures)::int as failures,
     coalesce(r.reclaims, s.reclaims, l.reclaims, b.reclaims, u.reclaims, t.reclaims)::int as reclaims,
     coalesce(r.ready_at, l.granted_at, l.started_at, b.blocked_at, u.suspended_at, o.ended_at,
       greatest(last.ended_at, released.at, p.released_at), e.created_at) as state_at,
     ${suspensionObject('u')} as suspension,
     coalesce(first.started_at, l.started_at, p.started_at) as started_at,
     r.priority::int as line_priority, r.seq as line_seq,
     l.worker, l.worker_name, l.token, coalesce(l.granted_at, l.started_at) as granted_at, l.expires_at, l.begin_by, l.timeout_at,
     coalesce(l.progress_percent, p.progress_percent) as progress_percent,
     coalesce(l.progress_message, p.progress_message) as progress_message,
     coalesce(l.progress_at, p.progress_at) as progress_at,
     l.cancel_at, l.cancel_until, l.cancel_accepts_late, l.cancel_reason,
     f.failure_class as last_class, f.failure_code as last_code, f.message as last_message,
     case when ${whole} then f.details_type end as last_details_type, case when ${whole} then f.details end as last_details,
     f.number as last_failed,
     o.reason, o.ended_at, o.token as end_token, o.failure_class, o.failure_code, o.message,
     case when ${whole} then o.details_type end as details_type, case when ${whole} then o.details end as details,
     o.result_type, case when octet_length(o.result) <= ${inline} then o.result end as result,
     coalesce(octet_length(o.result) > ${inline}, false) as result_omitted,
     coalesce(d.id, case when o.state in (8, 10) then e.letter end) as dead_letter, again.id as redriven_as`;
}

/** Times are the database's; numbers behind states, classes and reasons are those of the contract. */
export interface ExecutionRow {
  readonly id: string;
  readonly namespace: number;
  readonly lane_id: number;
  readonly lane: string;
  readonly type: string;
  readonly capabilities: readonly string[];
  readonly class: number;
  readonly request_id: string | null;
  readonly tags: Readonly<Record<string, string>>;
  readonly flow: string | null;
  /** The dead letter it redrives, and the run before it. */
  readonly letter: string | null;
  readonly redrive_of: string | null;
  readonly root: string;
  /** In its flow. */
  readonly optional: boolean;
  /** The execution that spawned it. */
  readonly parent: string | null;
  readonly created_at: Date;
  readonly asked_run_at: Date | null;
  readonly start_by: Date | null;
  readonly deadline: Date | null;
  readonly timeout_ms: bigint | null;
  readonly retry_max: number | null;
  readonly retry_initial_ms: bigint | null;
  readonly retry_factor: number | null;
  readonly retry_cap_ms: bigint | null;
  readonly reclaims_max: number | null;
  readonly count_lost: boolean | null;
  readonly input_type: string | null;
  readonly input: Buffer | null;
  readonly input_omitted: boolean;
  /** As failure_emissions reads them. */
  readonly failure_events: unknown;
  readonly hops: number;
  /** The slot it owns. */
  readonly batch: string | null;
  readonly batch_index: number | null;
  readonly batch_size: number | null;
  readonly subscription: string | null;
  readonly subscription_version: bigint | null;
  /** The event it reacts to, by the id it is known by. */
  readonly trigger_event: string | null;
  /** The dead letter that it handles. */
  readonly handles: string | null;
  /** As it is stored. */
  readonly trace: string | null;
  readonly state: number;
  /** What it waits for, while BLOCKED or WAITING_CHILDREN: 1 a join, 2 its concurrency key, 3 a budget, 4 its ordering key. */
  readonly waits_for: number | null;
  /** The join. */
  readonly barrier: string | null;
  /** Its order among those that wait for the key (a concurrency key: among those of its priority), and the key's row. */
  readonly place: bigint | null;
  readonly waits_gate: string | null;
  /** The budget; also of one that was parked by its breach. */
  readonly budget: string | null;
  readonly budget_name: string | null;
  readonly concurrency_key: string | null;
  readonly ordering_key: string | null;
  readonly dead_head: number | null;
  readonly priority: number;
  /** While it is SCHEDULED; while BLOCKED, its earliest start once released. */
  readonly run_at: Date | null;
  /** Attempts opened so far. */
  readonly attempt: number;
  readonly failures: number;
  readonly reclaims: number;
  readonly state_at: Date;
  readonly started_at: Date | null;
  /** Its place in line while QUEUED; the priority negated, as in the index. */
  readonly line_priority: number | null;
  readonly line_seq: bigint | null;
  /** While SUSPENDED. */
  readonly suspension: SuspensionObject | null;
  /** The lease while RUNNING. */
  readonly worker: string | null;
  readonly worker_name: string | null;
  readonly token: bigint | null;
  readonly granted_at: Date | null;
  readonly expires_at: Date | null;
  readonly begin_by: Date | null;
  readonly timeout_at: Date | null;
  readonly progress_percent: number | null;
  readonly progress_message: string | null;
  readonly progress_at: Date | null;
  readonly cancel_at: Date | null;
  readonly cancel_until: Date | null;
  readonly cancel_accepts_late: boolean | null;
  readonly cancel_reason: string | null;
  /** The last failed attempt of a live execution. */
  readonly last_failed: number | null;
  readonly last_class: number | null;
  readonly last_code: string | null;
  readonly last_message: string | null;
  readonly last_details_type: string | null;
  readonly last_details: Buffer | null;
  /** The outcome once it has ended. */
  readonly reason: number | null;
  readonly ended_at: Date | null;
  readonly end_token: bigint | null;
  readonly failure_class: number | null;
  readonly failure_code: string | null;
  readonly message: string | null;
  readonly details_type: string | null;
  readonly details: Buffer | null;
  readonly result_type: string | null;
  readonly result: Buffer | null;
  readonly result_omitted: boolean;
  readonly dead_letter: string | null;
  readonly redriven_as: string | null;
}
