/** Pages through parked executions, longest parked first. Whatever the filter, a page reads a bounded number of rows. */
import type { Runner } from '../../database.js';
import { boundedScan } from '../../inspection/bounded-scan.js';
import { statement } from '../../statement.js';
import { BEFORE_FIRST, type InstantKey, instantAt, microsecondsOf, type PageColumns, pageOf } from './instants.js';
import { type SuspensionObject, suspensionObject } from './suspension-object.js';

/** What a claim class says is looked up only where it is asked for. */
const list = statement(
  'suspensions.list',
  `with ${boundedScan(
    [
      {
        name: 'parked',
        from: '{schema}.suspension t',
        where: `t.namespace = $1::int and t.suspended_at < coalesce($7::timestamptz, 'infinity')`,
        key: ['suspended_at', 'execution'],
        columns: ['reason', 'escalated', 'flow', 'class'],
        filter: `left join lateral (
         select c.type, n.name as lane from {schema}.claim_class c join {schema}.lane n on n.id = c.lane
         where c.id = s.class and coalesce($4::text[], $5::text[]) is not null limit 1) c on true
       where ($2::int[] is null or s.reason = any ($2::int[])) and (not $3::boolean or s.escalated)
         and ($4::text[] is null or c.lane = any ($4::text[])) and ($5::text[] is null or c.type = any ($5::text[]))
         and ($6::uuid is null or s.flow = $6::uuid)`,
      },
    ],
    { below: [instantAt('$8::bigint'), '$9::uuid'], rows: '$10::int', budget: '$11::int', up: true },
  )}
   select ${microsecondsOf('floor.k1')} as ceiling_at, floor.k2 as ceiling_id, ${microsecondsOf('page.k1')} as at,
     page.k2 as id, ${suspensionObject('u')} as suspension
   from floor left join (page
     cross join lateral (select x.* from {schema}.suspension x where x.execution = page.k2 limit 1) u) on true
   order by page.k1, page.k2`,
);

export interface SuspensionFilter {
  readonly namespace: number;
  /** Null: any, here and below. */
  readonly reasons: readonly number[] | null;
  readonly escalatedOnly: boolean;
  readonly lanes: readonly string[] | null;
  readonly types: readonly string[] | null;
  readonly flow: string | null;
  readonly suspendedBefore: Date | null;
}

export interface SuspensionList {
  readonly suspensions: readonly SuspensionObject[];
  /** What `after` is for the next page; undefined when this was the last. */
  readonly next: InstantKey | undefined;
}

const BUDGET = 10_000;

/** `after`: what the page before ended with. */
export async function listSuspensions(
  runner: Runner,
  filter: SuspensionFilter,
  after: InstantKey | undefined,
  size: number,
  budget = BUDGET,
): Promise<SuspensionList> {
  type Row = PageColumns & { readonly suspension: SuspensionObject | null };
  const first = after ?? BEFORE_FIRST;
  const rows = await runner.query<Row>(list, [
    filter.namespace,
    filter.reasons,
    filter.escalatedOnly,
    filter.lanes,
    filter.types,
    filter.flow,
    filter.suspendedBefore,
    first.at,
    first.id,
    size + 1,
    budget,
  ]);
  const { shown, next } = pageOf(rows, size);
  return { suspensions: shown.flatMap(({ suspension }) => suspension ?? []), next };
}
