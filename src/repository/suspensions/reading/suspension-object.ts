/**
 * A suspension as one JSON object, computed beside its row and in the same snapshot: what it is, the waitpoints its condition
 * names, how far the condition has come. As JSON, times are text.
 */
import type { Condition } from '../../../domain/condition.js';

/** Of a waitpoint that stands at `alias`. One that is past its time is closed, whether or not that was swept. */
function waitpointObject(alias: string): string {
  return `jsonb_build_object('key', ${alias}.key, 'execution', ${alias}.execution, 'state',
     case when ${alias}.expires_at <= clock_timestamp() then 3 else ${alias}.state end, 'signals', ${alias}.signals,
     'created_at', ${alias}.created_at, 'expires_at', ${alias}.expires_at)`;
}

/** Only selectors have a `waitpoint`; the path meets members of lists twice. */
const NAMED = (alias: string) => `array(
     select p #>> '{}' from jsonb_path_query(${alias}.condition, '$.**.waitpoint') p)`;

const FITS = (leaf: string) => `(${leaf} ->> 'name' = '' or y.name = ${leaf} ->> 'name')
         and (${leaf} ->> 'waitpoint' = '' or y.waitpoint = ${leaf} ->> 'waitpoint')`;

/** What each leaf would take by now, counted once: the earliest fit for a signal, the first of each distinct for a count. */
const SATISFIERS = (alias: string) => `(
     select count(distinct taken.number)::int from (
       select f.number from jsonb_path_query(${alias}.condition, 'strict $.**?(@.kind == "signal")') leaf
       cross join lateral (
         select y.number from {schema}.signal y
         where y.execution = ${alias}.execution and y.matched is null and ${FITS('leaf')}
         order by y.number limit 1) f
       union all
       select f.number from jsonb_path_query(${alias}.condition, 'strict $.**?(@.kind == "count")') leaf
       cross join lateral (
         select min(y.number) as number from {schema}.signal y
         cross join lateral (
           select case (leaf ->> 'distinct')::int when 2 then y.waitpoint when 3 then y.source || ' ' || y.source_id
             else y.number::text end as once) o
         where y.execution = ${alias}.execution and y.matched is null and o.once is not null
           and (leaf -> 'among' = '[]' or coalesce((
             select true from jsonb_array_elements(leaf -> 'among') a where ${FITS('a')} limit 1), false))
         group by o.once order by 1 limit (leaf ->> 'count')::int) f) taken)`;

/** Of the row of `suspension` that stands at `alias`; null where there is none. */
export function suspensionObject(alias: string): string {
  const columns = ['execution', 'number', 'reason', 'condition', 'note', 'suspended_at', 'timeout_at', 'behavior'];
  const fields = [...columns, 'resume_delay_ms', 'escalated'].map((column) => `'${column}', ${alias}.${column}`);
  return `case when ${alias}.execution is not null then jsonb_build_object(${fields.join(', ')},
     'waitpoints', (select coalesce(jsonb_agg(${waitpointObject('w')} order by w.key), '[]') from {schema}.waitpoint w
       where w.execution = ${alias}.execution and w.key = any (${NAMED(alias)})),
     'satisfiers', ${SATISFIERS(alias)}) end`;
}

export interface WaitpointObject {
  readonly key: string;
  readonly execution: string;
  readonly state: number;
  readonly signals: number;
  readonly created_at: string | Date;
  readonly expires_at: string | Date;
}

/** Numbers are those of the contract. */
export interface SuspensionObject {
  readonly execution: string;
  readonly number: number;
  readonly reason: number;
  readonly condition: Condition;
  readonly note: string;
  readonly suspended_at: string;
  readonly timeout_at: string | null;
  readonly behavior: number;
  readonly resume_delay_ms: number;
  readonly escalated: boolean;
  /** Those that the condition names. */
  readonly waitpoints: readonly WaitpointObject[];
  /** Signals that count towards the condition so far. */
  readonly satisfiers: number;
}
