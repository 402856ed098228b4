/**
 * Pages through dead letters, newest first: down the index of each state wanted, or of one fingerprint, of one execution,
 * of a flow, of tags. Whatever the filter, a page reads a bounded number of rows (inspection/bounded-scan.ts).
 */
import type { Runner } from '../database.js';
import { boundedScan, type Source } from '../inspection/bounded-scan.js';
import { LAST_ID } from '../inspection/id-bounds.js';
import { statement } from '../statement.js';
import { type LetterFilter, SELECTING_COLUMNS, selectingValues, selects } from './filter.js';
import { type LetterRow, letterColumns } from './letter-row.js';

const OPEN = 1;
const REDRIVING = 2;
const CLOSED = 3;

/** `$16` says which way in is taken. */
function source(name: string, where: string, from = '{schema}.dead_letter t'): Source {
  return {
    name,
    from,
    where: `t.namespace = $1::int and ${where}`,
    key: ['id'],
    columns: [...SELECTING_COLUMNS],
    filter: `where ${selects('s')}`,
  };
}

function ofState(name: string, state: number): Source {
  return source(
    name,
    `t.state = ${state} and $16::text = 'state' and ($2::int[] is null or ${state} = any ($2::int[]))`,
  );
}

const list = statement(
  'dead-letters.list',
  `with ${boundedScan(
    [
      ofState('open', OPEN),
      ofState('redriving', REDRIVING),
      ofState('closed', CLOSED),
      source('alike', `t.fingerprint = ($6::text[])[1] and $16::text = 'fingerprint'`),
      // The inner select keeps the plan from walking all letters in the order of their ids to find a few.
      source(
        'named',
        'true',
        `(select x.* from {schema}.dead_letter x where $16::text = 'execution' and x.execution = $12::uuid offset 0) t`,
      ),
      source(
        'of_flow',
        'true',
        `(select x.* from {schema}.dead_letter x
           where $16::text = 'flow' and x.flow = $13::uuid and x.flow is not null offset 0) t`,
      ),
      source(
        'tagged',
        'true',
        `(select x.* from {schema}.dead_letter x
           where $16::text = 'tags' and x.tags @> $8::jsonb and x.tags <> '{}' offset 0) t`,
      ),
    ],
    { below: ['$17::uuid'], rows: '$18::int', budget: '$19::int' },
  )}
   select floor.k1 as floor, ${letterColumns('$20::int', 'false')}
   from floor left join (page
     cross join lateral (select x.* from {schema}.dead_letter x where x.id = page.k1 limit 1) d) on true
   order by d.id desc`,
);

const count = statement(
  'dead-letters.count',
  `select count(*)::int as n from (
     select from {schema}.dead_letter d where d.namespace = $1::int and ${selects('d')} limit $16::int) x`,
);

const countOfFlow = statement(
  'dead-letters.count-of-flow',
  `select count(*)::int as n from (
     select from (select x.* from {schema}.dead_letter x where x.flow = $13::uuid and x.flow is not null offset 0) d
     where d.namespace = $1::int and ${selects('d')} limit $16::int) x`,
);

const countTagged = statement(
  'dead-letters.count-tagged',
  `select count(*)::int as n from (
     select from {schema}.dead_letter d where d.tags @> $1::jsonb and d.tags <> '{}' limit $2::int) x`,
);

export interface LetterPage {
  readonly namespace: number;
  readonly filter: LetterFilter;
  /** The id that the page before ended with. */
  readonly below: string | null;
  readonly size: number;
  /** Inputs up to this size come along; −1: none. */
  readonly inlineBytes: number;
  /** Rows read per way in at most. */
  readonly budget?: number;
}

export interface LetterList {
  readonly letters: readonly LetterRow[];
  /** What `below` is for the next page; undefined when this was the last. */
  readonly next: string | undefined;
}

const BUDGET = 10_000;

export async function listDeadLetters(runner: Runner, page: LetterPage): Promise<LetterList> {
  const { namespace, filter, size } = page;
  const budget = page.budget ?? BUDGET;
  const rows = await runner.query<LetterRow & { readonly floor: string | null }>(list, [
    namespace,
    ...selectingValues(filter),
    await wayIn(runner, filter, budget),
    page.below ?? LAST_ID,
    size + 1,
    budget,
    page.inlineBytes,
  ]);
  const found = rows.filter((row) => row.id !== null);
  const letters = found.slice(0, size);
  const more = found.length > size ? letters.at(-1)?.id : undefined;
  return { letters, next: more ?? rows[0]?.floor ?? undefined };
}

/** Up to `most`, and one more when there are more. Reads until it has found them, so a rare filter reads every letter. */
export async function countDeadLetters(
  runner: Runner,
  namespace: number,
  filter: LetterFilter,
  most: number,
): Promise<number> {
  const made = filter.flow === null ? count : countOfFlow;
  const [row] = await runner.query<{ n: number }>(made, [namespace, ...selectingValues(filter), most + 1]);
  return row?.n ?? 0;
}

/** Tags that few letters have are the way in; those that many have are met soon enough on any other. */
async function wayIn(runner: Runner, filter: LetterFilter, budget: number): Promise<string> {
  if (filter.execution !== null) return 'execution';
  if (filter.flow !== null) return 'flow';
  if (filter.tags !== null) {
    const [row] = await runner.query<{ n: number }>(countTagged, [JSON.stringify(filter.tags), budget]);
    if ((row?.n ?? 0) < budget) return 'tags';
  }
  return filter.fingerprints?.length === 1 ? 'fingerprint' : 'state';
}
