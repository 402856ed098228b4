/**
 * The ways into the table of letters: down the index of each state wanted, and of one lane, fingerprint or consumer; or all
 * there is of an execution, of a flow, of tags that few have. `$17` says which is taken: the others read nothing. Each goes
 * down by id, not below `$18`; ids are made when letters are opened, so they rise with that time.
 */
import type { Runner } from '../database.js';
import type { Source } from '../inspection/bounded-scan.js';
import { FIRST_ID, idAt, LAST_ID } from '../inspection/id-bounds.js';
import { statement } from '../statement.js';
import { type LetterFilter, SHOWING_COLUMNS, selectingValues, selectsShown } from './filter.js';

const OPEN = 1;
const REDRIVING = 2;
const CLOSED = 3;

export const WAYS_IN: readonly Source[] = [
  ofState('open', OPEN, 'state'),
  ofState('redriving', REDRIVING, 'state'),
  ofState('closed', CLOSED, 'state'),
  ofState('open_alike', OPEN, 'fingerprint', 't.fingerprint = ($6::text[])[1]'),
  ofState('redriving_alike', REDRIVING, 'fingerprint', 't.fingerprint = ($6::text[])[1]'),
  ofState('closed_alike', CLOSED, 'fingerprint', 't.fingerprint = ($6::text[])[1]'),
  ofState('open_in_lane', OPEN, 'lane', 't.lane = ($3::text[])[1]'),
  source('consumed', `t.consumer_name = ($16::text[])[1] and $17::text = 'consumer'`),
  // The inner select keeps the plan from walking all letters in the order of their ids to find a few.
  few('named', `$17::text = 'execution' and x.execution = $12::uuid`),
  few('of_flow', `$17::text = 'flow' and x.flow = $13::uuid and x.flow is not null`),
  few('tagged', `$17::text = 'tags' and x.tags @> $8::jsonb and x.tags <> '{}'`),
];

function source(name: string, where: string, from = '{schema}.dead_letter t'): Source {
  return {
    name,
    from,
    where: `t.namespace = $1::int and t.id >= $18::uuid and ${where}`,
    key: ['id'],
    columns: [...SHOWING_COLUMNS],
    filter: `where ${selectsShown('s')}`,
  };
}

function ofState(name: string, state: number, way: string, also = 'true'): Source {
  const wanted = `$17::text = '${way}' and ($2::int[] is null or ${state} = any ($2::int[]))`;
  return source(name, `t.state = ${state} and ${also} and ${wanted}`);
}

function few(name: string, where: string): Source {
  return source(name, 'true', `(select x.* from {schema}.dead_letter x where ${where} offset 0) t`);
}

/** What the way in leads to, newest first per source, so many rows of each, whether the filter wants them or not. */
export function rowsOf(columns: readonly string[], budget: string): string {
  const read = columns.map((column) => `t.${column}`).join(', ');
  return WAYS_IN.map((way) => `(select ${read} ${downOf(way)} limit ${budget})`).join('\n       union all ');
}

/** How many rows the longest of them has, counted up to one more than `budget`. */
export function longestOf(budget: string): string {
  const lengths = WAYS_IN.map((way) => `(select count(*) from (select ${downOf(way)} limit ${budget} + 1) x)`);
  return `greatest(${lengths.join(',\n       ')})`;
}

function downOf({ from, where }: Source): string {
  return `from ${from}
         where ${where} and t.id < $19::uuid order by t.id desc`;
}

const countTagged = statement(
  'dead-letters.count-tagged',
  `select count(*)::int as n from (
     select from {schema}.dead_letter d where d.tags @> $1::jsonb and d.tags <> '{}' limit $2::int) x`,
);

/** Rows read of each source by a page. Of 10,000 a page that finds nothing takes 70 ms, of these 35. */
export const BUDGET = 5_000;

/** Parameters $1 to $19. `below`: an id; everything that is found is lower. */
export async function waysInValues(
  runner: Runner,
  namespace: number,
  filter: LetterFilter,
  below: string | null,
): Promise<readonly unknown[]> {
  const { createdFrom, createdBefore } = filter;
  const from = createdFrom === null ? FIRST_ID : idAt(createdFrom.getTime() - AROUND_MS);
  const before = createdBefore === null ? LAST_ID : idAt(createdBefore.getTime() + AROUND_MS);
  const upTo = below !== null && below < before ? below : before;
  return [namespace, ...selectingValues(filter), await wayIn(runner, filter), from, upTo];
}

/** An id is made up to so long after the time that its letter tells, or before when the clock was set back in between. */
const AROUND_MS = 5 * 60_000;

/** Tags that few letters have are the way in; those that many have are met soon enough on any other. */
export async function wayIn(runner: Runner, filter: LetterFilter): Promise<string> {
  if (filter.execution !== null) return 'execution';
  if (filter.flow !== null) return 'flow';
  if (filter.tags !== null) {
    const [row] = await runner.query<{ n: number }>(countTagged, [JSON.stringify(filter.tags), BUDGET]);
    if ((row?.n ?? 0) < BUDGET) return 'tags';
  }
  if (filter.fingerprints?.length === 1) return 'fingerprint';
  if (filter.consumers?.length === 1) return 'consumer';
  return filter.lanes?.length === 1 && filter.states?.length === 1 && filter.states[0] === OPEN ? 'lane' : 'state';
}
