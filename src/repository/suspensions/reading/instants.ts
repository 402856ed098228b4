/**
 * Pages in the order of times. Their keys are whole microseconds since 1970, as Postgres keeps them; a Date would lose three
 * digits.
 */
import { FIRST_ID } from '../../inspection/id-bounds.js';

export const instantAt = (microseconds: string) => `'epoch'::timestamptz + ${microseconds} * interval '1 microsecond'`;

export const microsecondsOf = (time: string) => `(extract(epoch from ${time}) * 1000000)::bigint`;

/** Where a page begins or ends: after this time, in microseconds, and id. */
export interface InstantKey {
  readonly at: bigint;
  readonly id: string;
}

/** The first page begins after it. */
export const BEFORE_FIRST: InstantKey = { at: 0n, id: FIRST_ID };

/** Beside what a row shows: where it stands, and, the same in every row, how far was looked. */
export interface PageColumns {
  readonly at: bigint | null;
  readonly id: string | null;
  readonly ceiling_at: bigint | null;
  readonly ceiling_id: string | null;
}

/**
 * Of rows that were asked for with one more than a page holds: those to show, and what the next page comes after, undefined
 * when this was the last. A page may end where the looking did, before it is full.
 */
export function pageOf<Row extends PageColumns>(rows: readonly Row[], size: number) {
  const found = rows.filter(({ id }) => id !== null);
  const shown = found.slice(0, size);
  const last = found.length > size ? shown.at(-1) : undefined;
  const { ceiling_at: at = null, ceiling_id: id = null } = rows[0] ?? {};
  return { shown, next: last ? keyOf(last.at, last.id) : keyOf(at, id) };
}

function keyOf(at: bigint | null, id: string | null): InstantKey | undefined {
  return at === null || id === null ? undefined : { at, id };
}
