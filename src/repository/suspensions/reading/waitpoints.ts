/**
 * Pages through waitpoints that still accept signals, next to expire first. Those of an execution that has ended are closed,
 * although that is not written into their rows, and are left out like those past their time.
 */
import type { Runner } from '../../database.js';
import { boundedScan, type Source } from '../../inspection/bounded-scan.js';
import { FIRST_ID } from '../../inspection/id-bounds.js';
import { statement } from '../../statement.js';
import { type InstantKey, instantAt, microsecondsOf } from './instants.js';
import type { WaitpointObject } from './suspension-object.js';

function source(name: string, from: string, where: string): Source {
  return {
    name,
    from,
    where: `t.namespace = $1::int and t.state <> 3 and ${where}`,
    key: ['expires_at', 'id'],
    columns: ['execution', 'state'],
    filter: `where ($3::int[] is null or s.state = any ($3::int[])) and s.k1 > clock_timestamp()
       and coalesce((select true from {schema}.outcome x where x.execution = s.execution limit 1), false) = false`,
  };
}

/** The first page begins now. What one execution has, a thousand at most, is read whole. */
const list = statement(
  'suspensions.list-waitpoints',
  `with ${boundedScan(
    [
      source('open', '{schema}.waitpoint t', '$2::uuid is null'),
      source(
        'of_execution',
        '(select x.* from {schema}.waitpoint x where $2::uuid is not null and x.execution = $2::uuid offset 0) t',
        'true',
      ),
    ],
    {
      below: [`greatest(${instantAt('$4::bigint')}, now())`, '$5::uuid'],
      rows: '$6::int',
      budget: '$7::int',
      up: true,
    },
  )}
   select ${microsecondsOf('floor.k1')} as ceiling_at, floor.k2 as ceiling_id, ${microsecondsOf('page.k1')} as at,
     w.id, w.key, w.execution, w.state::int as state, w.signals, w.created_at, w.expires_at
   from floor left join (page
     cross join lateral (select x.* from {schema}.waitpoint x where x.id = page.k2 limit 1) w) on true
   order by page.k1, page.k2`,
);

export interface WaitpointFilter {
  readonly namespace: number;
  /** Null: any, here and below. */
  readonly execution: string | null;
  readonly states: readonly number[] | null;
}

export interface WaitpointList {
  readonly waitpoints: readonly WaitpointObject[];
  /** What `after` is for the next page; undefined when this was the last. */
  readonly next: InstantKey | undefined;
}

const BUDGET = 10_000;
const BEFORE_FIRST: InstantKey = { at: 0n, id: FIRST_ID };

/** `after`: what the page before ended with. */
export async function listWaitpoints(
  runner: Runner,
  filter: WaitpointFilter,
  after: InstantKey | undefined,
  size: number,
  budget = BUDGET,
): Promise<WaitpointList> {
  type Found = WaitpointObject & { readonly id: string; readonly at: bigint };
  type Row = Found & {
    readonly id: string | null;
    readonly ceiling_at: bigint | null;
    readonly ceiling_id: string | null;
  };
  const first = after ?? BEFORE_FIRST;
  const rows = await runner.query<Row>(list, [
    filter.namespace,
    filter.execution,
    filter.states,
    first.at,
    first.id,
    size + 1,
    budget,
  ]);
  const found = rows.filter((row) => row.id !== null);
  const waitpoints = found.slice(0, size);
  const last = found.length > size ? waitpoints.at(-1) : undefined;
  const { ceiling_at: at = null, ceiling_id: id = null } = rows[0] ?? {};
  const ceiling = at === null || id === null ? undefined : { at, id };
  return { waitpoints, next: last === undefined ? ceiling : { at: last.at, id: last.id } };
}
