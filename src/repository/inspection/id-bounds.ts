/** Execution ids are UUIDv7, so a range of creation times is a range of ids, as wide as clients may be wrong. */
import { NEWEST_ID_MS, OLDEST_ID_MS } from '../../domain/ids.js';

export const FIRST_ID = '00000000-0000-0000-0000-000000000000';
export const LAST_ID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';

/** Every execution created at or after this time has this id or a higher one. */
export function firstIdOf(created: Date | null): string {
  return created === null ? FIRST_ID : idAt(created.getTime() - OLDEST_ID_MS);
}

/** Every execution created before this time has a lower id. */
export function idAfter(created: Date | null): string {
  return created === null ? LAST_ID : idAt(created.getTime() + NEWEST_ID_MS + 1);
}

/** The lowest id of that millisecond. */
export function idAt(ms: number): string {
  const hex = Math.max(0, ms).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
