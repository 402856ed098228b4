/** What stands at the desk, counted on the spot: of each state its newest letters, and what was closed lately. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type LetterFilter, SHOWING_COLUMNS, selectsShown } from './filter.js';
import { rowsOf, waysInValues } from './ways-in.js';

const SHOWN = 100;
const READ = SHOWING_COLUMNS.map((column) => `t.${column}`).join(', ');
const bucketsOf = (where: string, value: string) =>
  `(select coalesce(jsonb_agg(jsonb_build_array(x.value, x.n) order by x.n desc, x.value), '[]') from (
       select ${value} as value, sum(f.n) as n from folded f where ${where} group by 1 order by 2 desc, 1 limit ${SHOWN}) x)`;

/** Folded once by everything that is told, so that each row is touched once. Age: in hours, of the letter as it stands. */
const read = statement(
  'dead-letters.stats',
  `with now as materialized (select clock_timestamp() as t),
   wanted as (
     select s.state::int as state, s.reason::int as reason, s.lane, s.type, s.resolution::int as resolution, s.created_at,
       case when s.created_at > now.t - interval '1 h' then '1h' when s.created_at > now.t - interval '1 d' then '1d'
         when s.created_at > now.t - interval '7 d' then '7d' when s.created_at > now.t - interval '30 d' then '30d'
         else 'older' end as age
     from (${rowsOf(SHOWING_COLUMNS, '$20::int')}) s, now where ${selectsShown('s')}),
   folded as materialized (
     select w.state, w.reason, w.lane, w.type, w.resolution, w.age, count(*) as n, min(w.created_at) as oldest
     from wanted w group by 1, 2, 3, 4, 5, 6),
   -- Only where there may be more open ones than were read.
   oldest as materialized (
     select s.created_at from (
       select ${READ} from {schema}.dead_letter t
       where t.namespace = $1::int and t.state = 1 and t.id >= $18::uuid and t.id < $19::uuid
         and not $17::text = any ('{execution,flow,tags}') and exists (
         select from {schema}.dead_letter x where x.namespace = $1::int and x.state = 1 order by x.id offset $20::int limit 1)
       order by t.id limit $20::int) s
     where ${selectsShown('s')} limit 1),
   lately as materialized (
     select s.closed_at > now.t - interval '1 h' as in_hour
     from now, lateral (
       select ${READ} from {schema}.dead_letter t
       where t.namespace = $1::int and t.state = 3 and t.closed_at > now.t - interval '1 d'
         and ($2::int[] is null or 3 = any ($2::int[]))
       order by t.closed_at desc limit $20::int) s
     where ${selectsShown('s')})
   select
     (select coalesce(jsonb_object_agg(x.state, x.n), '{}') from (
       select f.state, sum(f.n) as n from folded f group by 1) x) as states,
     ${bucketsOf('f.state = 1', 'f.reason')} as reasons,
     ${bucketsOf('f.state = 1', 'f.lane')} as lanes,
     ${bucketsOf('f.state = 1', 'f.type')} as types,
     ${bucketsOf('f.state = 3', 'f.resolution')} as resolutions,
     ${bucketsOf('f.state = 1', 'f.age')} as ages,
     least((select min(f.oldest) from folded f where f.state = 1), oldest.created_at) as oldest_open_at,
     (select coalesce(sum(f.n), 0)::int from folded f where f.age in ('1h', '1d')) as opened_in_day,
     (select coalesce(sum(f.n), 0)::int from folded f where f.age = '1h') as opened_in_hour,
     (select count(*)::int from lately) as closed_in_day,
     (select count(*)::int from lately where lately.in_hour) as closed_in_hour
   from (select) one left join oldest on true`,
);

/** A value and how many share it, most numerous first. */
export type Bucket<V> = readonly [value: V, count: number];

export interface LetterStats {
  /** By state; those without any are missing. */
  readonly states: Readonly<Record<string, number>>;
  /** Of open ones. */
  readonly reasons: readonly Bucket<number>[];
  readonly lanes: readonly Bucket<string>[];
  readonly types: readonly Bucket<string>[];
  readonly ages: readonly Bucket<string>[];
  /** Of closed ones. */
  readonly resolutions: readonly Bucket<number>[];
  readonly oldest_open_at: Date | null;
  readonly opened_in_day: number;
  readonly opened_in_hour: number;
  readonly closed_in_day: number;
  readonly closed_in_hour: number;
}

/** Of each state so many of the newest letters are looked at, and of those closed lately. */
export const LOOKED_AT = 100_000;

export async function readDeadLetterStats(
  runner: Runner,
  namespace: number,
  filter: LetterFilter,
  budget = LOOKED_AT,
): Promise<LetterStats> {
  const [row] = await runner.query<LetterStats>(read, [
    ...(await waysInValues(runner, namespace, filter, null)),
    budget,
  ]);
  if (row === undefined) throw new Error('the statement answered no row');
  return row;
}
