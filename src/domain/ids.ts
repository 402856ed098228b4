/** Execution ids: UUIDs of version 7, whose first 48 bits are milliseconds since 1970. */

/** Client-made ids may be this much older or newer than now: partitions are sure to exist there. */
export const OLDEST_ID_MS = 24 * 60 * 60 * 1_000;
export const NEWEST_ID_MS = 5 * 60 * 1_000;

/** Milliseconds since 1970; undefined for another version or variant. Takes the canonical form in lower case. */
export function timeOfId(id: string): number | undefined {
  if (id[14] !== '7' || !/[89ab]/.test(id[19] ?? '')) return undefined;
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

/** What is wrong with an id that a client made, if anything. */
export function wrongClientId(id: string, nowMs: number): string | undefined {
  const made = timeOfId(id);
  if (made === undefined) return 'must be a UUID of version 7';
  if (made < nowMs - OLDEST_ID_MS) return 'must not be made more than a day ago';
  if (made > nowMs + NEWEST_ID_MS) return 'must not lie more than five minutes ahead';
  return undefined;
}
