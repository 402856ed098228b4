/**
 * Groups of letters that failed alike. Where there are not too many they are read in the order in which they came, and
 * grouped. Of more the groups are found by leaping from fingerprint to fingerprint, and each is counted down its index, so
 * that a flood of one does not hide the others; row by row that costs three times as much, since alike letters lie far
 * apart. Either way a bounded number of rows is read; a count that this has cut short says so.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type LetterFilter, SHOWING_COLUMNS, selectsShown } from './filter.js';
import { longestOf, rowsOf, waysInValues } from './ways-in.js';

/** Of a group so many are counted. */
export const COUNTED = 10_000;
/** Fingerprints looked at; more than that are no groups any more. */
const GROUPS = 5_000;
/** Rows read of all groups together, more or less, but of each at least so many. */
const BUDGET = { rows: 300_000, least: 100 };
/** Rows looked through for the first of a group that was cut short. */
const FROM_THE_START = 1_000;

const READ = SHOWING_COLUMNS.map((column) => `t.${column}`).join(', ');
/** Ids as text: no version of Postgres before 18 compares them in max(). */
const FIGURES = `min(x.created_at) filter (where x.wanted) as first_at, max(x.created_at) filter (where x.wanted) as last_at,
       max(x.id::text collate "C") filter (where x.wanted) as newest`;

const leap = statement(
  'dead-letters.groups',
  `with recursive leap as (
     (select d.fingerprint from {schema}.dead_letter d where $20::text[] is null and d.namespace = $1::int
      order by d.fingerprint limit 1)
     union all
     select (select d.fingerprint from {schema}.dead_letter d where d.namespace = $1::int and d.fingerprint > l.fingerprint
       order by d.fingerprint limit 1)
     from leap l where l.fingerprint is not null),
   cause as materialized (
     select c.fingerprint from (
       select l.fingerprint from leap l union all select unnest($20::text[])) c
     where c.fingerprint is not null and $17::text in ('state', 'fingerprint') limit ${GROUPS}),
   depth as materialized (
     select greatest($22::int, least(${COUNTED} + 1, $21::int / greatest(count(*), 1)))::int as rows from cause)
   select c.fingerprint, sum(r.n)::int as n, bool_or(r.read = depth.rows) as cut, depth.rows > ${COUNTED} as deepest,
     min(least(r.first_at, f.created_at)) as first_at, max(r.last_at) as last_at,
     max(r.newest collate "C") as newest
   from cause c, depth, generate_series(1, 3) w (state)
   cross join lateral (
     select count(*) as read, count(*) filter (where x.wanted) as n, ${FIGURES}
     from (
       select s.id, s.created_at, ${selectsShown('s')} as wanted from (
         select t.id, ${READ} from {schema}.dead_letter t
         where t.namespace = $1::int and t.fingerprint = c.fingerprint and t.state = w.state
           and t.id >= $18::uuid and t.id < $19::uuid
         order by t.id desc limit (select depth.rows from depth)) s) x) r
   left join lateral (
     select s.created_at from (
       select t.id, ${READ} from {schema}.dead_letter t
       where r.read = depth.rows and t.namespace = $1::int and t.fingerprint = c.fingerprint and t.state = w.state
         and t.id >= $18::uuid and t.id < $19::uuid
       order by t.id limit ${FROM_THE_START}) s
     where ${selectsShown('s')} limit 1) f on true
   where $2::int[] is null or w.state = any ($2::int[])
   group by c.fingerprint, depth.rows having sum(r.n) > 0`,
);

/** Nothing but `cut` where there are more rows than are read, unless $21 says that there is no better way. */
const near = statement(
  'dead-letters.near-groups',
  `with depth as materialized (select ${longestOf('$20::int')} > $20::int as cut)
   select depth.cut, true as deepest, g.* from depth left join (
     select x.fingerprint, count(*)::int as n, ${FIGURES}
     from (
       select s.*, true as wanted from (${rowsOf(['id', ...SHOWING_COLUMNS], '$20::int')}) s
       where ((select not depth.cut from depth) or $21::boolean) and ${selectsShown('s')}) x
     group by x.fingerprint order by 2 desc, 1 limit ${GROUPS}) g on true`,
);

interface Counted {
  readonly fingerprint: string;
  readonly n: number;
  readonly cut: boolean;
  /** No other reading would tell more of it. */
  readonly deepest: boolean;
  readonly first_at: Date;
  readonly last_at: Date;
  readonly newest: string;
}

export interface LetterGroup {
  readonly fingerprint: string;
  /** At most COUNTED. */
  readonly count: number;
  readonly capped: boolean;
  readonly firstAt: Date;
  readonly lastAt: Date;
  /** The newest letter. */
  readonly newest: string;
}

export interface GroupKey {
  readonly count: number;
  readonly fingerprint: string;
}

export interface GroupPage {
  readonly groups: readonly LetterGroup[];
  /** What `after` is for the next page; undefined when this was the last. */
  readonly next: GroupKey | undefined;
}

/** Most numerous first. Counted anew for each page: what grows or shrinks meanwhile may be met twice, or not at all. */
export async function listDeadLetterGroups(
  runner: Runner,
  asked: {
    readonly namespace: number;
    readonly filter: LetterFilter;
    readonly after: GroupKey | undefined;
    readonly size: number;
  },
  budget = BUDGET,
): Promise<GroupPage> {
  const { after, size } = asked;
  const all = (await countAll(runner, asked.namespace, asked.filter, budget)).map(toGroup).sort(inOrder);
  const rest = after === undefined ? all : all.filter((group) => inOrder(after, group) < 0);
  const groups = rest.slice(0, size);
  const last = groups.at(-1);
  return { groups, next: rest.length > size ? last : undefined };
}

/** Few groups are counted to the end. Of many only so much is read, and then again of those that need more. */
async function countAll(
  runner: Runner,
  namespace: number,
  filter: LetterFilter,
  { rows: all, least }: typeof BUDGET,
): Promise<Counted[]> {
  const values = await waysInValues(runner, namespace, filter, null);
  const leaps = values[WAY] === 'state' || values[WAY] === 'fingerprint';
  const few = await runner.query<Counted>(near, [...values, Math.floor(all / 3), !leaps]);
  if (!leaps || few[0]?.cut === false) return few.filter(({ fingerprint }) => fingerprint !== null);
  const rows = await runner.query<Counted>(leap, [...values, filter.fingerprints, all, least]);
  const again = rows.filter(({ cut, deepest }) => cut && !deepest).map(({ fingerprint }) => fingerprint);
  if (again.length === 0) return rows;
  const deeper = await runner.query<Counted>(leap, [...values, again, all, least]);
  const known = new Map([...rows, ...deeper].map((row) => [row.fingerprint, row]));
  return [...known.values()];
}

const WAY = 16;

function toGroup(row: Counted): LetterGroup {
  return {
    fingerprint: row.fingerprint,
    count: Math.min(row.n, COUNTED),
    capped: row.n > COUNTED || row.cut,
    firstAt: row.first_at,
    lastAt: row.last_at,
    newest: row.newest,
  };
}

function inOrder(a: GroupKey, b: GroupKey): number {
  return b.count - a.count || (a.fingerprint < b.fingerprint ? -1 : a.fingerprint > b.fingerprint ? 1 : 0);
}
