/**
 * Pages through waitpoints that still accept signals, next to expire first. Those of an execution that has ended are closed,
 * although that is not written into their rows, and are left out like those past their time.
 */
import type { Runner } from '../../database.js';
import { boundedScan, type Source } from '../../inspection/bounded-scan.js';
import { statement } from '../../statement.js';
import { BEFORE_FIRST, type InstantKey, instantAt, microsecondsOf, type PageColumns, pageOf } from './instants.js';
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

/** `after`: what the page before ended with. */
export async function listWaitpoints(
  runner: Runner,
  filter: WaitpointFilter,
  after: InstantKey | undefined,
  size: number,
  budget = BUDGET,
): Promise<WaitpointList> {
  const first = after ?? BEFORE_FIRST;
  const rows = await runner.query<WaitpointObject & PageColumns>(list, [
    filter.namespace,
    filter.execution,
    filter.states,
    first.at,
    first.id,
    size + 1,
    budget,
  ]);
  const { shown, next } = pageOf(rows, size);
  return { waitpoints: shown, next };
}
