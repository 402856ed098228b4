/** Events that come with the end of an attempt, as the arrays that SQL takes: those of all items, one after the other. */
import { int4Array, int8Array, textArray, uuidArray } from '../binary-arrays.js';
import { type Content, packContents } from '../bytes.js';

export interface NewEmission {
  readonly type: string;
  readonly stream: string | null;
  readonly expectedVersion: bigint | null;
  /** Its place among those that the execution emits as a batch. */
  readonly batch: { readonly id: string; readonly index: number; readonly size: number } | null;
  readonly schemaVersion: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly occurredAt: Date | null;
  readonly payload: Content | null;
}

/** Fifteen parameters; what no event has is null as a whole. */
export function emissionParameters(items: readonly (readonly NewEmission[])[]): unknown[] {
  const events = items.flat();
  const content = packContents(events.map(({ payload }) => payload));
  const optional = <T>(values: readonly (T | null)[], pack: (values: readonly (T | null)[]) => unknown) =>
    values.some((value) => value !== null) ? pack(values) : null;
  const asIs = (values: readonly unknown[]) => values;
  const json = (map: Readonly<Record<string, string>>) => (Object.keys(map).length > 0 ? JSON.stringify(map) : null);
  return [
    int4Array(items.flatMap((own, i) => own.map(() => i + 1))),
    textArray(events.map(({ type }) => type)),
    optional(
      events.map(({ stream }) => stream),
      textArray,
    ),
    optional(
      events.map(({ expectedVersion }) => expectedVersion),
      int8Array,
    ),
    uuidArray(events.map(({ batch }) => batch?.id ?? null)),
    int4Array(events.map(({ batch }) => batch?.index ?? null)),
    int4Array(events.map(({ batch }) => batch?.size ?? null)),
    int4Array(events.map(({ schemaVersion }) => schemaVersion)),
    optional(
      events.map(({ tags }) => json(tags)),
      asIs,
    ),
    optional(
      events.map(({ headers }) => json(headers)),
      asIs,
    ),
    optional(
      events.map(({ occurredAt }) => occurredAt),
      asIs,
    ),
    textArray(content.types),
    int4Array(content.positions),
    int4Array(content.lengths),
    content.bytes,
  ];
}

/** Nothing was recorded, and it goes on running: the stream has another version than was expected. */
export interface RefusedEmission {
  readonly verdict: 'stream_conflict';
  readonly stream: string;
  readonly version: bigint;
}

export function isRefusedEmission(answer: { readonly verdict: string }): answer is RefusedEmission {
  return answer.verdict === 'stream_conflict';
}
