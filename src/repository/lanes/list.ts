/**
 * Lanes with their limits and what they hold: counts as folded from the log, open dead letters, how long the oldest has
 * waited.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { KeyLimit } from './change.js';

/** Open letters are counted up to this many. */
const LETTERS = 100_000;
/** A page ends once its lanes have declared so many keys: an answer has bounds. */
const KEYS = 20_000;

/**
 * The oldest claimable execution of a line stands at its head, but for those put back by an operator, which keep their
 * time and get a new place.
 */
const list = statement(
  'lanes.list',
  `with named as materialized (
     select l.*, case when $6::boolean then (
       select count(*) from {schema}.concurrency_key k where k.lane = l.id and k.declared) else 0 end as keys
     from {schema}.lane l
     where l.namespace = $1::int and l.name > $2::text and ($3::text is null or l.name = $3::text)
       and ($4::int[] is null or l.state = any ($4::int[]))
     order by l.name limit $5::int),
   page as materialized (
     select x.* from (select n.*, sum(n.keys) over (order by n.name) - n.keys as before from named n) x
     where x.before < ${KEYS} order by x.name),
   class as materialized (
     select p.id, array(select c.id from {schema}.claim_class c where c.lane = p.id) as ids from page p)
   select p.*, q.max_running, q.max_starts, q.window_ms, coalesce(d.limits, '[]') as key_limits,
     (select count(*) from named) > (select count(*) from page) as cut, coalesce(k.counts, '{}') as counts, (select c.position from {schema}.counted c) as counted, o.n as letters,
     (extract(epoch from clock_timestamp() - r.oldest) * 1000)::double precision as oldest_ms
   from page p
   join class on class.id = p.id
   left join lateral (
     select x.* from {schema}.quota x where x.namespace = p.namespace and x.lane = p.id limit 1) q on true
   left join lateral (
     select jsonb_agg(jsonb_build_object('key', x.key, 'max_running', x.max_running, 'weight', x.weight) order by x.key)
       as limits
     from {schema}.concurrency_key x where x.lane = p.id and x.declared and p.keys > 0) d on true
   left join lateral (
     select jsonb_object_agg(s.state, s.n) as counts from (
       select k.state, sum(k.n) as n from {schema}.state_count k where k.class = any (class.ids) group by k.state) s) k on true
   left join lateral (
     select count(*)::int as n from (
       select from {schema}.dead_letter x where x.namespace = p.namespace and x.lane = p.name and x.state = 1
       limit ${LETTERS}) x) o on true
   left join lateral (
     select min(x.ready_at) as oldest from {schema}.claim_heads(class.ids, '{}', '{}') h
     cross join lateral (
       select r.ready_at from {schema}.ready r
       where r.class = h.class and r.priority = h.priority and r.seq = h.seq limit 1) x) r on true
   order by p.name`,
);

export interface LaneRow {
  readonly id: number;
  readonly namespace: number;
  readonly name: string;
  readonly state: number;
  readonly state_reason: string;
  readonly actor: string;
  readonly timeout_ms: bigint | null;
  readonly ttl_ms: bigint | null;
  readonly aging_ms: bigint | null;
  readonly retry_max: number | null;
  readonly retry_initial_ms: bigint | null;
  readonly retry_factor: number | null;
  readonly retry_cap_ms: bigint | null;
  readonly reclaims_max: number | null;
  readonly count_lost: boolean | null;
  readonly max_running: number | null;
  readonly max_starts: number | null;
  readonly window_ms: bigint | null;
  readonly default_key_limit: number | null;
  readonly key_limits: readonly KeyLimit[];
  readonly version: bigint;
  readonly created_at: Date;
  readonly changed_at: Date;
  /** Executions by state; 0: ever created. States without any may be missing. */
  readonly counts: Readonly<Record<string, number>>;
  /** Position of the log up to which they are folded. */
  readonly counted: bigint;
  readonly letters: number;
  /** Null when nothing is claimable. */
  readonly oldest_ms: number | null;
}

export interface LanePage {
  readonly namespace: number;
  /** Null: any. */
  readonly states: readonly number[] | null;
  /** The name that the page before ended with; empty for the first. */
  readonly after: string;
  readonly size: number;
  /** Whether declared keys come along; with them a page may be shorter. */
  readonly keys: boolean;
}

export interface LaneList {
  readonly lanes: readonly LaneRow[];
  /** There are more than were asked for, or than fit. */
  readonly more: boolean;
}

/** By name. */
export async function listLanes(runner: Runner, page: LanePage): Promise<LaneList> {
  const rows = await runner.query<LaneRow & { readonly cut: boolean }>(list, [
    page.namespace,
    page.after,
    null,
    page.states,
    page.size + 1,
    page.keys,
  ]);
  return { lanes: rows.slice(0, page.size), more: rows.length > page.size || rows[0]?.cut === true };
}

/** Undefined when it was never used. */
export async function readLane(runner: Runner, namespace: number, name: string): Promise<LaneRow | undefined> {
  const [row] = await runner.query<LaneRow>(list, [namespace, '', name, null, 1, true]);
  return row;
}
