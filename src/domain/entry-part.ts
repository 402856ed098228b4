/**
 * Which entries of the log keep their order for a consumer: those of one key. A key belongs to one part, by the first byte
 * of the SHA-256 of its text, and entries without a key belong to part 0.
 */

/** The contract's numbers. */
export const SplitKey = { FLOW: 1, STREAM: 2 } as const;

export interface KeyedEntry {
  readonly flow: string | null;
  readonly execution: string | null;
  /** Of an event that is in one. */
  readonly stream: string | null;
}

/** What names the key among others, as a letter stores it: `stream:<name>`, a uuid in lower case, or empty for none. */
export function entryKey(splitKey: number, entry: KeyedEntry): string {
  if (splitKey === SplitKey.STREAM && entry.stream !== null) return `stream:${entry.stream}`;
  return entry.flow ?? entry.execution ?? '';
}

/** The text whose hash decides; empty for none. */
export function hashedKey(splitKey: number, entry: KeyedEntry): string {
  if (splitKey === SplitKey.STREAM && entry.stream !== null) return entry.stream;
  return entry.flow ?? entry.execution ?? '';
}

/** `first`: the first byte of the hash. */
export function partOfByte(first: number, partCount: number): number {
  return Math.floor((first * partCount) / 256);
}
