/** Pages through flows with failed required members that were not redriven, last failure first. */
import type { Runner } from '../../database.js';
import { boundedScan } from '../../inspection/bounded-scan.js';
import { FIRST_ID, LAST_ID } from '../../inspection/id-bounds.js';
import { isShown } from '../../namespaces/shown.js';
import { statement } from '../../statement.js';
import { type FailureRow, failureObject, LAST_FAILURE } from './flow-row.js';

/** Failed and live members are counted up to this many. */
export const MEMBERS_COUNTED = 10_000;

const at = (microseconds: string) => `'epoch'::timestamptz + ${microseconds} * interval '1 microsecond'`;
const microseconds = (time: string) => `(extract(epoch from ${time}) * 1000000)::bigint`;

/** The time of a failure stays when it was redriven; then nothing is left in flow_failed, or something older. */
const list = statement(
  'flows.failed',
  `with ${boundedScan(
    [
      {
        name: 'failed',
        from: '{schema}.flow t',
        where: `t.namespace = $1::int and t.failed_at is not null and t.failed_at >= ${at('$2::bigint')}`,
        key: ['failed_at', 'id'],
        columns: ['tags', 'ended_at'],
        filter: `where ($3::jsonb is null or s.tags @> $3::jsonb) and ${isShown('s.ended_at', '$1::int')}
       and exists (select from {schema}.flow_failed x where x.flow = s.k2 offset 0)`,
      },
    ],
    { below: [at('$4::bigint'), '$5::uuid'], rows: '$6::int', budget: '$7::int' },
  )}
   select ${microseconds('floor.k1')} as floor_at, floor.k2 as floor_id, ${microseconds('page.k1')} as failed_at,
     f.id, f.name, f.state::int as state, w.n as failed, l.n as live, d.n as letters,
     ${failureObject('worse')} as last_failure
   from floor left join (page
     cross join lateral (select x.* from {schema}.flow x where x.id = page.k2 limit 1) f
     cross join lateral (
       select count(*) as n from (
         select from {schema}.flow_failed x where x.flow = f.id limit ${MEMBERS_COUNTED}) x) w
     cross join lateral (
       select count(*) as n from (
         select from {schema}.flow_live x where x.flow = f.id limit ${MEMBERS_COUNTED}) x) l
     cross join lateral (
       select count(*) as n from {schema}.dead_letter x
       where x.flow = f.id and x.flow is not null and x.state in (1, 2)) d
     left join lateral (${LAST_FAILURE}) worse on true) on true
   order by page.k1 desc, page.k2 desc`,
);

export interface FailedFlowRow {
  readonly id: string;
  readonly name: string;
  readonly state: number;
  /** Of the last failure, in microseconds since 1970. */
  readonly failed_at: bigint;
  /** Members, each up to MEMBERS_COUNTED. */
  readonly failed: bigint;
  readonly live: bigint;
  /** Dead letters that are open or redriving. */
  readonly letters: bigint;
  readonly last_failure: FailureRow | null;
}

export interface FailedFlowFilter {
  readonly namespace: number;
  /** Null: any, here and below. */
  readonly failedFrom: Date | null;
  readonly failedBefore: Date | null;
  readonly tags: Readonly<Record<string, string>> | null;
}

/** Where a page begins: below this time, in microseconds, and id. */
export interface FailedFlowKey {
  readonly at: bigint;
  readonly id: string;
}

export interface FailedFlowList {
  readonly flows: readonly FailedFlowRow[];
  readonly next: FailedFlowKey | undefined;
}

const BUDGET = 10_000;
const MICROSECONDS = 1_000n;
/** The year 9999. */
const LATEST: FailedFlowKey = { at: 253_402_300_799_000_000n, id: LAST_ID };

/** `below`: what the page before ended with. */
export async function listFailedFlows(
  runner: Runner,
  filter: FailedFlowFilter,
  below: FailedFlowKey | undefined,
  size: number,
  budget = BUDGET,
): Promise<FailedFlowList> {
  const first =
    below ?? (filter.failedBefore === null ? LATEST : { at: microsecondsOf(filter.failedBefore), id: FIRST_ID });
  type Floored = FailedFlowRow & { floor_at: bigint | null; floor_id: string | null; id: string | null };
  const rows = await runner.query<Floored>(list, [
    filter.namespace,
    filter.failedFrom === null ? 0n : microsecondsOf(filter.failedFrom),
    filter.tags === null ? null : JSON.stringify(filter.tags),
    first.at,
    first.id,
    size + 1,
    budget,
  ]);
  const found = rows.filter((row): row is FailedFlowRow & { floor_at: bigint; floor_id: string } => row.id !== null);
  const flows = found.slice(0, size);
  const last = found.length > size ? flows.at(-1) : undefined;
  const { floor_at: at = null, floor_id: id = null } = rows[0] ?? {};
  const floor = at === null || id === null ? undefined : { at, id };
  return { flows, next: last === undefined ? floor : { at: last.failed_at, id: last.id } };
}

function microsecondsOf(time: Date): bigint {
  return BigInt(time.getTime()) * MICROSECONDS;
}
