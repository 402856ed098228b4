/** Quotas with their present use: the namespace's own first, then those of its lanes by name. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { FREE_AT, RUNNING, STARTED } from './use.js';

/** Of a quota `q`. */
const COLUMNS = `q.max_running, q.max_starts, q.window_ms, u.running::int as running, u.started::int as started,
     case when u.started >= q.max_starts then ${FREE_AT} end as free_at`;
const USE = `cross join lateral (select ${RUNNING} as running, ${STARTED} as started offset 0) u`;

/** Only operators make quotas: there are few of a namespace, and all are put in order for a page. */
const list = statement(
  'quotas.list',
  `with page as materialized (
     select q.*, n.name from {schema}.quota q
     cross join lateral (
       select coalesce((select l.name from {schema}.lane l where l.id = q.lane), '') as name) n
     where q.namespace = $1::int and (q.max_running is not null or q.max_starts is not null)
       and ($2::text is null or n.name > $2::text)
     order by n.name limit $3::int)
   select q.name as lane, ${COLUMNS} from page q ${USE} order by q.name`,
);

const get = statement(
  'quotas.get',
  `select $2::text as lane, ${COLUMNS} from {schema}.quota q ${USE}
   where q.namespace = $1::int and q.lane = case when $2::text = '' then 0 else (
     select l.id from {schema}.lane l where l.namespace = $1::int and l.name = $2::text) end`,
);

const over = statement(
  'quotas.over-lane',
  `select case when q.lane = 0 then '' else $3::text end as lane, ${COLUMNS}
   from {schema}.quota q ${USE}
   where q.namespace = $1::int and q.lane in (0, $2::int) and (q.max_running is not null or q.max_starts is not null)
   order by q.lane desc`,
);

export interface QuotaRow {
  /** Name; empty: the namespace's own. */
  readonly lane: string;
  /** Null: no limit, here and below. */
  readonly max_running: number | null;
  readonly max_starts: number | null;
  readonly window_ms: bigint | null;
  /** Counted as far as there is a limit. */
  readonly running: number;
  readonly started: number;
  /** When the window lets the next one start, while it is full. */
  readonly free_at: Date | null;
}

/** `after`: the lane that the page before ended with; null for the first page. */
export function listQuotas(
  runner: Runner,
  namespace: number,
  after: string | null,
  limit: number,
): Promise<QuotaRow[]> {
  return runner.query<QuotaRow>(list, [namespace, after, limit]);
}

/** `lane`: its name; empty: the namespace's own. Undefined when none was ever set. */
export async function readQuota(runner: Runner, namespace: number, lane: string): Promise<QuotaRow | undefined> {
  const [row] = await runner.query<QuotaRow>(get, [namespace, lane]);
  return row;
}

/** Those that a claim from this lane has to keep: its own, then the namespace's. */
export function readQuotasOver(
  runner: Runner,
  namespace: number,
  lane: { readonly id: number; readonly name: string },
): Promise<QuotaRow[]> {
  return runner.query<QuotaRow>(over, [namespace, lane.id, lane.name]);
}
