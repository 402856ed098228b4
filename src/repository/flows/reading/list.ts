/**
 * Pages through flows, newest first: down the index of each state wanted, or of one name, or of tags. Whatever the filter,
 * a page reads a bounded number of rows (inspection/bounded-scan.ts).
 */
import type { Runner } from '../../database.js';
import { boundedScan, type Source } from '../../inspection/bounded-scan.js';
import { firstIdOf, idAfter } from '../../inspection/id-bounds.js';
import { isShown } from '../../namespaces/shown.js';
import { statement } from '../../statement.js';
import { FLOW_COLUMNS, FLOW_JOINS, type FlowRow } from './flow-row.js';

const STATES = [1, 2, 3, 4, 5, 6];

const FILTER = `where ($2::int[] is null or s.state = any ($2::int[])) and ($3::text is null or s.name = $3::text)
       and ($4::jsonb is null or s.tags @> $4::jsonb)
       and ($5::timestamptz is null or s.created_at >= $5::timestamptz)
       and ($6::timestamptz is null or s.created_at < $6::timestamptz) and ${isShown('s.ended_at', '$1::int')}`;

/** `$7` says which way in is taken. */
function source(name: string, where: string, from = '{schema}.flow t'): Source {
  return {
    name,
    from,
    where: `t.namespace = $1::int and ${where} and t.id >= $8::uuid`,
    key: ['id'],
    columns: ['state', 'name', 'tags', 'created_at', 'ended_at'],
    filter: FILTER,
  };
}

const ofState = (state: number) =>
  source(
    `state${state}`,
    `t.state = ${state} and $7::text = 'state' and ($2::int[] is null or ${state} = any ($2::int[]))`,
  );

const list = statement(
  'flows.list',
  `with ${boundedScan(
    [
      ...STATES.map(ofState),
      source('named', `$7::text = 'name' and t.name = $3::text and t.name <> ''`),
      // The inner select keeps the plan from walking all flows in the order of their ids to find a few.
      source(
        'tagged',
        'true',
        `(select x.* from {schema}.flow x where $7::text = 'tags' and x.tags @> $4::jsonb and x.tags <> '{}' offset 0) t`,
      ),
    ],
    { below: ['$9::uuid'], rows: '$10::int', budget: '$11::int' },
  )}
   select floor.k1 as floor, ${FLOW_COLUMNS}
   from floor left join (page
     cross join lateral (select x.* from {schema}.flow x where x.id = page.k1 limit 1) f ${FLOW_JOINS}) on true
   order by f.id desc`,
);

const countTagged = statement(
  'flows.count-tagged',
  `select count(*)::int as n from (
     select from {schema}.flow f where f.tags @> $1::jsonb and f.tags <> '{}' limit $2::int) x`,
);

export interface FlowFilter {
  readonly namespace: number;
  /** Null: any, here and below. */
  readonly states: readonly number[] | null;
  readonly name: string | null;
  readonly tags: Readonly<Record<string, string>> | null;
  readonly createdFrom: Date | null;
  readonly createdBefore: Date | null;
}

export interface FlowList {
  readonly flows: readonly FlowRow[];
  /** What `below` is for the next page; undefined when this was the last. */
  readonly next: string | undefined;
}

const BUDGET = 10_000;

/** `below`: the id that the page before ended with. */
export async function listFlows(
  runner: Runner,
  filter: FlowFilter,
  below: string | null,
  size: number,
  budget = BUDGET,
): Promise<FlowList> {
  const highest = idAfter(filter.createdBefore);
  const rows = await runner.query<FlowRow & { readonly floor: string | null; readonly id: string | null }>(list, [
    filter.namespace,
    filter.states,
    filter.name,
    filter.tags === null ? null : JSON.stringify(filter.tags),
    filter.createdFrom,
    filter.createdBefore,
    await wayIn(runner, filter, budget),
    firstIdOf(filter.createdFrom),
    below !== null && below < highest ? below : highest,
    size + 1,
    budget,
  ]);
  const found = rows.filter((row): row is FlowRow & { floor: string | null } => row.id !== null);
  const flows = found.slice(0, size);
  const more = found.length > size ? flows.at(-1)?.id : undefined;
  return { flows, next: more ?? rows[0]?.floor ?? undefined };
}

/** Tags that few flows have are the way in; those that many have are met soon enough on any other. */
async function wayIn(runner: Runner, { name, tags }: FlowFilter, budget: number): Promise<string> {
  if (name !== null) return 'name';
  if (tags === null) return 'state';
  const [row] = await runner.query<{ n: number }>(countTagged, [JSON.stringify(tags), budget]);
  return (row?.n ?? 0) < budget ? 'tags' : 'state';
}
