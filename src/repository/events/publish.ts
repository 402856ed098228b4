/** Publishes the events of several calls: one function call, one transaction. */
import { byteaArray, int4Array, int8Array, textArray, uuidArray } from '../binary-arrays.js';
import { type Content, packContents } from '../bytes.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const publish = statement(
  'events.publish',
  `select verdict, event, seq, idx, version, flow, hops, batch, batch_index, batch_size, floor_at, woken, follows
   from {schema}.publish_events($1::int[], $2::int[], $3::int[], $4::text[], $5::bigint[], $6::bytea[], $7::text[],
     $8::text[], $9::bigint[], $10::uuid[], $11::uuid[], $12::text[], $13::int[], $14::uuid[], $15::int[], $16::int[],
     $17::int[], $18::jsonb[], $19::jsonb[], $20::timestamptz[], $21::text[], $22::int[], $23::int[], $24::bytea,
     $25::bigint, $26::bigint, $27::int, $28::int)`,
);

export interface NewEvent {
  readonly namespace: number;
  /** Null: the engine makes one. */
  readonly eventId: string | null;
  /** When an id of version 7 says it was made. */
  readonly madeMs: number | null;
  /** Of the content as it was asked for. */
  readonly hash: Buffer;
  readonly type: string;
  readonly stream: string | null;
  readonly expectedVersion: bigint | null;
  readonly flow: string | null;
  /** Id of the flow that it starts if it belongs to none; events that share one start it together. */
  readonly newFlow: string;
  /** As it is known. */
  readonly cause: string | null;
  /** Place in its call of a cause that comes earlier there. */
  readonly causeAt: number | null;
  readonly batch: { readonly id: string; readonly index: number; readonly size: number } | null;
  /** Number in its call of what stands or falls together; side by side. */
  readonly unit: number;
  readonly schemaVersion: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly occurredAt: Date | null;
  readonly payload: Content | null;
}

/** In the order in which they are decided. */
export type Publication = readonly NewEvent[];

export interface PublishAnswer {
  /**
   * duplicate: as it was stored first. reused: the id belongs to other content. too_old: with `floor_at`. no_cause: it was
   * never accepted, or was refused here. conflict: the stream has `version`. unit_refused: another event of its unit was. busy: a flow
   * of its call was locked by somebody, nothing of the call is stored; try again.
   */
  readonly verdict:
    | 'published'
    | 'duplicate'
    | 'reused'
    | 'too_old'
    | 'no_cause'
    | 'no_flow'
    | 'flow_sealed'
    | 'flow_canceled'
    | 'flow_full'
    | 'conflict'
    | 'unit_refused'
    | 'busy';
  /** Internal id. Null for what was not stored. */
  readonly event: string | null;
  /** Row of the log, and the entry in it from 1; null when it is not there (any more). */
  readonly seq: bigint | null;
  readonly idx: number | null;
  readonly version: bigint | null;
  readonly flow: string | null;
  readonly hops: number | null;
  readonly batch: string | null;
  readonly batch_index: number | null;
  readonly batch_size: number | null;
  readonly floor_at: Date | null;
}

interface Consequences {
  /** Classes that got claimable work, one per execution. */
  readonly woken: readonly number[] | null;
  /** Something is left to be done. */
  readonly follows: boolean | null;
}

export interface PublishOptions {
  /** Reactions that one event may start in this transaction; 0: all are left to the router. */
  readonly most: number;
  /** Members that a flow may have. */
  readonly maxMembers: number;
}

const DAY_MS = 86_400_000;
/** Ids of version 7 are remembered so long, and older ones refused. */
const MEMORY_MS = 30 * DAY_MS;
/** Flows that events start seal themselves once they have been idle for so long. */
const SEAL_AFTER_MS = DAY_MS;

/** Answers per call, in its order. Event ids are distinct over all calls. */
export async function publishEvents(
  runner: Runner,
  calls: readonly Publication[],
  { most, maxMembers }: PublishOptions,
): Promise<{ readonly answers: PublishAnswer[][]; readonly consequences: Consequences }> {
  const events = calls.flat();
  const { offsets, units } = numbered(calls);
  const column = <T>(pick: (event: NewEvent, i: number) => T): T[] => events.map(pick);
  const content = packContents(column(({ payload }) => payload));
  /** Null as a whole where no event has any. */
  const optional = <T>(pick: (event: NewEvent, i: number) => T | null, pack: (values: (T | null)[]) => unknown) => {
    const values = events.map(pick);
    return values.some((value) => value !== null) ? pack(values) : null;
  };
  const asIs = <T>(values: readonly T[]) => values;
  const json = (map: Readonly<Record<string, string>>) => (Object.keys(map).length > 0 ? JSON.stringify(map) : null);
  const rows = await runner.query<PublishAnswer & Consequences>(publish, [
    int4Array(calls.flatMap((call, i) => call.map(() => i + 1))),
    int4Array(units),
    int4Array(column(({ namespace }) => namespace)),
    optional(({ eventId }) => eventId, textArray),
    optional(({ madeMs }) => madeMs, int8Array),
    optional(({ eventId, hash }) => (eventId === null ? null : hash), byteaArray),
    textArray(column(({ type }) => type)),
    optional(({ stream }) => stream, textArray),
    optional(({ expectedVersion }) => expectedVersion, int8Array),
    optional(({ flow }) => flow, uuidArray),
    uuidArray(column(({ newFlow }) => newFlow)),
    optional(({ cause }) => cause, textArray),
    optional(({ causeAt }, i) => (causeAt === null ? null : causeAt + 1 + (offsets[i] ?? 0)), int4Array),
    optional(({ batch }) => batch?.id ?? null, uuidArray),
    optional(({ batch }) => batch?.index ?? null, int4Array),
    optional(({ batch }) => batch?.size ?? null, int4Array),
    optional(({ schemaVersion }) => schemaVersion || null, int4Array),
    optional(({ tags }) => json(tags), asIs),
    optional(({ headers }) => json(headers), asIs),
    optional(({ occurredAt }) => occurredAt, asIs),
    optional((_, i) => content.types[i] ?? null, textArray),
    optional((_, i) => content.positions[i] ?? null, int4Array),
    optional((_, i) => content.lengths[i] ?? null, int4Array),
    content.bytes,
    MEMORY_MS,
    SEAL_AFTER_MS,
    maxMembers,
    most,
  ]);
  const { woken = null, follows = null } = rows[0] ?? {};
  let end = 0;
  const answers = calls.map(({ length }) => {
    end += length;
    return rows.slice(end - length, end);
  });
  return { answers, consequences: { woken, follows } };
}

/** Per event: where its call begins, and its unit's number over all calls. */
function numbered(calls: readonly Publication[]): { offsets: number[]; units: number[] } {
  const offsets: number[] = [];
  const units: number[] = [];
  let last: unknown;
  let unit = 0;
  for (const call of calls) {
    const offset = offsets.length;
    last = undefined;
    for (const event of call) {
      if (event.unit !== last) unit++;
      last = event.unit;
      offsets.push(offset);
      units.push(unit);
    }
  }
  return { offsets, units };
}
