/** Execution ids are UUIDv7, so a range of creation times is a range of ids. */

export const FIRST_ID = '00000000-0000-0000-0000-000000000000';
export const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/** Clients may make ids that are so much older or newer than their creation. */
const OLDER_MS = 24 * 60 * 60 * 1_000;
const NEWER_MS = 5 * 60 * 1_000;

/** Every execution created at or after this time has this id or a higher one. */
export function firstIdOf(created: Date | null): string {
  return created === null ? FIRST_ID : idAt(created.getTime() - OLDER_MS);
}

/** Every execution created before this time has a lower id. */
export function idAfter(created: Date | null): string {
  return created === null ? LAST_ID : idAt(created.getTime() + NEWER_MS + 1);
}

/** The lowest id of that millisecond. */
function idAt(ms: number): string {
  const hex = Math.max(0, ms).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
