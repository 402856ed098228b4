/**
 * Entries as letters keep them, on their way into the database: rows of dead_letter that hold contents only, named by
 * column, so that a column that comes later stays null.
 */
import { byteaArray, int8Array, textArray, uuidArray } from '../binary-arrays.js';
import type { Content } from '../bytes.js';

export interface EntryLetter {
  readonly position: bigint;
  /** What it holds while it is parked; null: nothing. */
  readonly key: string | null;
  readonly type: string;
  readonly flow: string | null;
  /** That it is about, or whose event it is. */
  readonly execution: string | null;
  readonly tags: Readonly<Record<string, string>>;
  /** Of an event: its internal id, and what it is known by outside. */
  readonly event: string | null;
  readonly eventId: string | null;
  readonly eventType: string | null;
  readonly input: Content | null;
  /** As it was delivered. */
  readonly entry: Uint8Array;
}

/** An array of rows, in the order of the letters, from parameters `first` to `first` + 11. */
export function letterRows(first: number): string {
  const types = ['int8', 'text', 'text', 'uuid', 'text', 'uuid', 'text', 'text', 'text', 'bytea', 'bytea', 'uuid'];
  const arrays = types.map((type, i) => `$${first + i}::${type}[]`).join(', ');
  return `array(
     select jsonb_populate_record(null::{schema}.dead_letter, jsonb_build_object('position', u.position, 'entry_key', u.key,
       'type', u.type, 'flow', u.flow, 'tags', u.tags::jsonb, 'event', u.event, 'event_id', u.event_id,
       'event_type', u.event_type, 'input_type', u.input_type, 'input', u.input, 'entry', u.entry, 'entry_execution', u.execution))
     from unnest(${arrays}) with ordinality
       u (position, key, type, flow, tags, event, event_id, event_type, input_type, input, entry, execution, ord)
     order by u.ord)`;
}

export function letterValues(letters: readonly EntryLetter[]): readonly unknown[] {
  return [
    int8Array(letters.map(({ position }) => position)),
    textArray(letters.map(({ key }) => key)),
    textArray(letters.map(({ type }) => type)),
    uuidArray(letters.map(({ flow }) => flow)),
    textArray(letters.map(({ tags }) => JSON.stringify(tags))),
    uuidArray(letters.map(({ event }) => event)),
    textArray(letters.map(({ eventId }) => eventId)),
    textArray(letters.map(({ eventType }) => eventType)),
    textArray(letters.map(({ input }) => input?.type ?? null)),
    byteaArray(letters.map(({ input }) => input?.body ?? null)),
    byteaArray(letters.map(({ entry }) => entry)),
    uuidArray(letters.map(({ execution }) => execution)),
  ];
}
