/**
 * Ids, names and other text. Nothing that passes here can fail in Postgres or come back changed: no NUL, which it does
 * not store, and no half of a surrogate pair, which has no UTF-8.
 */
import { z } from 'zod';
import { refuse, rule, shown } from './refusals.js';

export const NAME_BYTES = 200;
export const LANE_BYTES = 64;
const LABELS = 32;
const MATCHED_HEADERS = 16;
const LABEL_BYTES = 64;
const TAG_VALUE_BYTES = 256;
const HEADER_VALUE_BYTES = 1_024;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Up to `most` bytes of UTF-8; may be empty. */
export function text(most: number) {
  return z.string().check(rule((value) => wrongText(value, most)));
}

/** 1 to `most` bytes. */
export function name(most = NAME_BYTES) {
  return z.string().check(rule((value) => (value === '' ? 'is required' : wrongText(value, most))));
}

/** Up to `most` bytes; empty is absent. */
export function optionalName(most = NAME_BYTES) {
  return text(most).transform((value) => (value === '' ? null : value));
}

/** A UUID, in lower case. */
export const id = z
  .string()
  .check(rule((value) => (value === '' ? 'is required' : wrongId(value))))
  .transform((value) => value.toLowerCase());

/** A UUID or nothing; empty is absent. */
export const optionalId = z
  .string()
  .check(rule((value) => (value === '' ? undefined : wrongId(value))))
  .transform((value) => (value === '' ? null : value.toLowerCase()));

/** Empty is `default`. */
export const namespace = z
  .string()
  .check(rule((value) => (value === '*' ? 'must name one namespace; it is "*"' : wrongText(value, NAME_BYTES))))
  .transform((value) => (value === '' ? 'default' : value));

/** Or `*` for all; whoever may not ask for that has been refused before. */
export const namespaceOrAll = text(NAME_BYTES).transform((value) => (value === '' ? 'default' : value));

export const lane = name(LANE_BYTES);
/** Empty: not told. */
export const optionalLane = optionalName(LANE_BYTES);
/** Empty: no protection against repeats. */
export const requestId = optionalName();

/** Up to `most` names, none of them empty, each kept once. */
export function names(most: number, mostBytes = NAME_BYTES) {
  return list(name(mostBytes), most).transform((values) => [...new Set(values)]);
}

/** Up to `most` items. */
export function list<T extends z.ZodType>(item: T, most: number, least = 0) {
  return z.array(item).check(
    rule(({ length }) => {
      if (length > most) return `must have at most ${most} items; it has ${length}`;
      return length < least
        ? `must have at least ${least} ${least === 1 ? 'item' : 'items'}; it has ${length}`
        : undefined;
    }),
  );
}

/** The key of a tag or header. */
export const label = name(LABEL_BYTES);

/** For people and filters: up to 32, keys 1 to 64 bytes, values up to 256. */
export const tags = labels(LABELS, TAG_VALUE_BYTES);

/** For routing and tracing: as tags, values up to 1024 bytes. */
export const headers = labels(LABELS, HEADER_VALUE_BYTES);

/** That must all be there, with these values: up to 16. */
export const matchedHeaders = labels(MATCHED_HEADERS, HEADER_VALUE_BYTES);

function labels(most: number, valueBytes: number) {
  return z.custom<Readonly<Record<string, string>>>().check((context) => {
    const entries = Object.entries(context.value);
    if (entries.length === 0) return;
    if (entries.length > most)
      refuse(context.issues, entries.length, `must have at most ${most}; it has ${entries.length}`);
    for (const [key, value] of entries) {
      const wrongKey = key === '' ? 'is empty' : wrongText(key, LABEL_BYTES);
      const wrong = wrongKey === undefined ? wrongText(value, valueBytes) : `key ${wrongKey}`;
      if (wrong !== undefined) refuse(context.issues, value, wrong, [`[${shown(key)}]`]);
    }
  });
}

export function isUuid(value: string): boolean {
  return UUID.test(value);
}

function wrongId(value: string): string | undefined {
  return isUuid(value) ? undefined : `must be a UUID; it is ${shown(value)}`;
}

function wrongText(value: string, most: number): string | undefined {
  // A character takes at most three bytes per UTF-16 unit: short text need not be measured.
  if (value.length * 3 > most) {
    const bytes = Buffer.byteLength(value);
    if (bytes > most) return `must have at most ${most} bytes; it has ${bytes}`;
  }
  if (value.includes('\0')) return 'must not contain the character NUL';
  if (LONE_SURROGATE.test(value)) return 'must be valid Unicode; it contains half of a surrogate pair';
  return undefined;
}
