/** What one consumer follows: which entries of the log, and to which of its parts each belongs. */
import { hash } from 'node:crypto';
import { entryKey, hashedKey, type KeyedEntry, partOfByte, SplitKey } from '../domain/entry-part.js';
import type { RecordFilter } from './filter.js';
import type { LogRecord } from './record.js';

const REMEMBERED_KEYS = 20_000;

export interface Selection {
  readonly filter: RecordFilter;
  /** SplitKey. */
  readonly splitKey: number;
  readonly partCount: number;
}

/** How far one part has come: everything up to `position` is behind it. */
export interface PartPlace {
  readonly part: number;
  readonly position: bigint;
}

/** The least advanced of all parts. */
export function leastOf(places: readonly PartPlace[]): bigint {
  const [first = 0n, ...others] = places.map(({ position }) => position);
  return others.reduce(min, first);
}

/** The part an entry belongs to. Of a record whose detail was read, if the selection reads streams. */
export function entryPart({ splitKey, partCount }: Omit<Selection, 'filter'>, record: LogRecord): number {
  if (partCount === 1) return 0;
  const text = hashedKey(splitKey, keyed(record));
  return text === '' ? 0 : partOfByte(firstByte(text), partCount);
}

/** The key that an entry would hold when it is parked; empty for none. */
export function recordKey({ splitKey }: Pick<Selection, 'splitKey'>, record: LogRecord): string {
  return entryKey(splitKey, keyed(record));
}

/** The part cannot be told before the detail is read. */
export function splitsByDetail({ splitKey, partCount }: Selection, record: LogRecord): boolean {
  return partCount > 1 && splitKey === SplitKey.STREAM && record.ofEvent;
}

function keyed({ entry, event }: LogRecord): KeyedEntry {
  return { flow: entry.flow, execution: entry.execution, stream: event?.stream ?? null };
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

const bytes = new Map<string, number>();

/** Entries of one key come close together, and several parts look at each. */
function firstByte(text: string): number {
  const known = bytes.get(text);
  if (known !== undefined) return known;
  if (bytes.size >= REMEMBERED_KEYS) bytes.clear();
  const byte = hash('sha256', text, 'buffer')[0] ?? 0;
  bytes.set(text, byte);
  return byte;
}
