/** Counts per state, folded from the log by a follower, and what is counted on the spot beside them. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const fold = statement('inspection.fold-counts', 'select busy, folded, upto from {schema}.fold_counts($1)');

/** Letters, and flows, of one state are counted up to this many; of unrouted events so many rows are looked at. */
export const EACH_COUNTED = 100_000;

const read = statement(
  'inspection.stats',
  `select (select c.position from {schema}.counted c) as position,
     (select coalesce(jsonb_object_agg(s.state, s.n), '{}') from (
       select k.state, sum(k.n) as n from {schema}.state_count k
       where k.class = any (array(select c.id from {schema}.claim_class c where c.namespace = $1::int))
       group by k.state) s) as executions,
     (select jsonb_object_agg(s.state, d.n) from generate_series(1, 3) s (state)
       cross join lateral (
         select count(*) as n from (
           select from {schema}.dead_letter x where x.namespace = $1::int and x.state = s.state
           limit ${EACH_COUNTED}) x) d) as letters,
     (select jsonb_object_agg(s.state, f.n) from generate_series(1, 6) s (state)
       cross join lateral (
         select count(*) as n from (
           select from {schema}.flow x where x.namespace = $1::int and x.state = s.state
           limit ${EACH_COUNTED}) x) f) as flows,
     coalesce((select k.n from {schema}.event_count k where k.namespace = $1::int), 0) as events,
     (select count(distinct y.event) from (
       select x.event from {schema}.subscription s
       cross join lateral (select u.event from {schema}.unrouted u where u.subscription = s.id limit ${EACH_COUNTED}) x
       where s.namespace = $1::int
       union all
       select x.event from (
         select u.event from {schema}.unrouted u where u.subscription = 0 limit ${EACH_COUNTED}) x
       cross join lateral (select e.namespace from {schema}.event e where e.id = x.event offset 0) e
       where e.namespace = $1::int
       limit ${EACH_COUNTED}) y) as unrouted`,
);

export interface Folded {
  /** Another process is at it. */
  readonly busy: boolean;
  readonly folded: number;
  /** The position reached. */
  readonly upto: bigint;
}

/** Adds about `limit` entries of the log to the counts. Any process may, at any time; fewer than `limit`: the head. */
export async function foldCounts(runner: Runner, limit: number): Promise<Folded> {
  const [row] = await runner.query<Folded>(fold, [limit]);
  if (row === undefined) throw new Error('fold_counts answered nothing');
  return row;
}

export interface Stats {
  /** Position of the log up to which executions and events are counted. */
  readonly position: bigint;
  /** By state; 0: ever created. States without any may be missing. */
  readonly executions: Readonly<Record<string, number>>;
  /** By state, each up to EACH_COUNTED. */
  readonly letters: Readonly<Record<string, number>>;
  readonly flows: Readonly<Record<string, number>>;
  /** Events ever published, up to `position`; and those whose reactions are not all made, now. */
  readonly events: bigint;
  readonly unrouted: bigint;
}

export async function readStats(runner: Runner, namespace: number): Promise<Stats> {
  const [row] = await runner.query<Stats>(read, [namespace]);
  if (row === undefined) throw new Error('the counts have lost their row');
  return row;
}
