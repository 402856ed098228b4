/**
 * Pages through dead letters, newest first, by one of the ways in. Whatever the filter, a page reads a bounded number of
 * rows (inspection/bounded-scan.ts).
 */
import type { Runner } from '../database.js';
import { boundedScan } from '../inspection/bounded-scan.js';
import { statement } from '../statement.js';
import type { LetterFilter } from './filter.js';
import { type LetterRow, letterColumns } from './letter-row.js';
import { BUDGET, WAYS_IN, waysInValues } from './ways-in.js';

const list = statement(
  'dead-letters.list',
  `with ${boundedScan(WAYS_IN, { below: ['$19::uuid'], rows: '$20::int', budget: '$21::int' })}
   select floor.k1 as floor, ${letterColumns('$22::int', 'false')}
   from floor left join (page
     cross join lateral (select x.* from {schema}.dead_letter x where x.id = page.k1 limit 1) d) on true
   order by d.id desc`,
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

export async function listDeadLetters(runner: Runner, page: LetterPage): Promise<LetterList> {
  const { namespace, filter, below, size, inlineBytes } = page;
  const rows = await runner.query<LetterRow & { readonly floor: string | null }>(list, [
    ...(await waysInValues(runner, namespace, filter, below)),
    size + 1,
    page.budget ?? BUDGET,
    inlineBytes,
  ]);
  const found = rows.filter((row) => row.id !== null);
  const letters = found.slice(0, size);
  const more = found.length > size ? letters.at(-1)?.id : undefined;
  return { letters, next: more ?? rows[0]?.floor ?? undefined };
}
