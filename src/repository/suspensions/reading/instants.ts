/** Times as keys of pages: whole microseconds since 1970, as Postgres keeps them; a Date would lose three digits. */

export const instantAt = (microseconds: string) => `'epoch'::timestamptz + ${microseconds} * interval '1 microsecond'`;

export const microsecondsOf = (time: string) => `(extract(epoch from ${time}) * 1000000)::bigint`;

/** Where a page begins or ends: after this time, in microseconds, and id. */
export interface InstantKey {
  readonly at: bigint;
  readonly id: string;
}
