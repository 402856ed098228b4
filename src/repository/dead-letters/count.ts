/** Counts dead letters, for a badge: stops when it has found so many, or has looked at enough of each way in. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type LetterFilter, SHOWING_COLUMNS, selectsShown } from './filter.js';
import { longestOf, rowsOf, waysInValues } from './ways-in.js';

/** cut: there were more rows than were looked at. Asked only where too few were found to stop. */
const count = statement(
  'dead-letters.count',
  `with found as materialized (
     select count(*)::int as n from (
       select from (${rowsOf(SHOWING_COLUMNS, '$21::int')}) s where ${selectsShown('s')} limit $20::int) x)
   select found.n, case when found.n < $20::int then ${longestOf('$21::int')} > $21::int end as cut from found`,
);

export interface LetterCount {
  readonly count: number;
  /** There are more, or may be. */
  readonly capped: boolean;
}

/** Rows looked at of each source. */
const LOOKED_AT = 20_000;

export async function countDeadLetters(
  runner: Runner,
  namespace: number,
  filter: LetterFilter,
  most: number,
  budget = LOOKED_AT,
): Promise<LetterCount> {
  const [row] = await runner.query<{ n: number; cut: boolean | null }>(count, [
    ...(await waysInValues(runner, namespace, filter, null)),
    most + 1,
    budget,
  ]);
  const found = row?.n ?? 0;
  return { count: Math.min(found, most), capped: found > most || row?.cut === true };
}
