/** A short hash of what a call asked for: the same again is a repeat, anything else is refused. */
import { createHash } from 'node:crypto';

const BYTES = 16;

/** `fields` must come in one order always; a Date or null is as good as a string. */
export function contentHash(fields: readonly unknown[], content: { type: string; body: Buffer } | null): Buffer {
  const hash = createHash('sha256').update(JSON.stringify(fields));
  if (content) hash.update(`\n${content.type}\n`).update(content.body);
  return hash.digest().subarray(0, BYTES);
}

/** Maps say nothing by their order. */
export function sortedEntries(map: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Of an end that says nothing. */
export const EMPTY_HASH = contentHash([], null);
