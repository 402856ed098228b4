/** Budgets with their use as it counts now: a window that has ended is over, whether somebody has applied that or not. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { Attachment } from './put.js';

/** Executions it holds back are counted up to this many. */
const HELD_COUNTED = 10_000;

/** By name, or by name among those of one attachment; a page of a namespace's budgets is read in the order of its index. */
const list = statement(
  'budgets.list',
  `with page as materialized (
     select b.*, coalesce(b.reset_at <= clock_timestamp(), false) as over from {schema}.budget b
     where b.namespace = $1::int and b.name > $2::text and ($3::text is null or b.name = $3::text)
       and ($4::int is null or b.id = any (array(
         select a.budget from {schema}.budget_attachment a
         where a.namespace = $1::int and a.kind = $4::int and a.lane = coalesce(
             (select l.id from {schema}.lane l where l.namespace = $1::int and l.name = $5::text),
             case when $5::text is null then 0 else -1 end)
           and a.subject = coalesce($6::uuid, '00000000-0000-0000-0000-000000000000'))))
       and (not $7::boolean or (b.exhausted and (b.reset_at is null or b.reset_at > clock_timestamp()))
         or coalesce((select true from {schema}.budget_dimension d where d.budget = b.id and d.hard_limit = 0 limit 1), false))
     order by b.name limit $8::int)
   select p.id, p.name, p.breach_policy::int as policy, p.window_ms, p.window_start, p.version, p.created_at, p.changed_at,
     case when p.over then {schema}.window_end(p.window_start, p.window_ms, clock_timestamp()) else p.reset_at end as reset_at,
     u.uses, coalesce(a.attachments, '[]') as attachments, least(${HELD_COUNTED}, h.blocked + h.parked)::int as held
   from page p
   cross join lateral (
     select json_agg(json_build_object('dimension', y.dimension, 'hard', y.hard::text, 'soft', y.soft::text,
       'used', case when p.over then '0' else y.used::text end) order by y.dimension) as uses
     from {schema}.budget_use(array[p.id]) y) u
   left join lateral (
     select json_agg(json_build_object('kind', y.kind, 'lane', l.name,
       'subject', case when y.kind > 2 then y.subject end) order by y.kind, l.name, y.subject) as attachments
     from (select x.* from {schema}.budget_attachment x where x.budget = p.id offset 0) y
     left join lateral (select x.name from {schema}.lane x where x.id = y.lane limit 1) l on true) a on true
   cross join lateral (
     select (select count(*) from (select from {schema}.blocked y where y.budget = p.id limit ${HELD_COUNTED}) x) as blocked,
       (select count(*) from (select from {schema}.suspension y where y.budget = p.id limit ${HELD_COUNTED}) x) as parked) h
   order by p.name`,
);

export interface UseRow {
  readonly dimension: string;
  /** Numbers as text: they may be larger than a double can tell. */
  readonly hard: string;
  readonly soft: string;
  readonly used: string;
}

export interface BudgetRow {
  readonly id: string;
  readonly name: string;
  readonly policy: number;
  readonly window_ms: bigint | null;
  readonly window_start: Date;
  readonly version: bigint;
  readonly created_at: Date;
  readonly changed_at: Date;
  readonly reset_at: Date | null;
  readonly uses: readonly UseRow[];
  readonly attachments: readonly Attachment[];
  /** Executions that wait for it, or are parked by its breach. */
  readonly held: number;
}

export interface BudgetPage {
  readonly namespace: number;
  /** Null: any. */
  readonly attachment: Attachment | null;
  readonly exhaustedOnly: boolean;
  /** The name that the page before ended with; empty for the first. */
  readonly after: string;
  readonly limit: number;
}

/** By name. */
export function listBudgets(runner: Runner, page: BudgetPage): Promise<BudgetRow[]> {
  const { namespace, after, attachment, exhaustedOnly, limit } = page;
  const { kind, lane, subject } = attachment ?? { kind: null, lane: null, subject: null };
  return runner.query<BudgetRow>(list, [namespace, after, null, kind, lane, subject, exhaustedOnly, limit]);
}

/** Undefined when there is none of this name. */
export async function readBudget(runner: Runner, namespace: number, name: string): Promise<BudgetRow | undefined> {
  const [row] = await runner.query<BudgetRow>(list, [namespace, '', name, null, null, null, false, 1]);
  return row;
}
