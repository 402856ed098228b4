/** Reads what stands in streams behind where their readers are: many streams, and the end of each, in one snapshot. */
import { int4Array, int8Array, uuidArray } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'frames.read',
  `select * from {schema}.read_frames($1::uuid[], $2::int[], $3::bigint[], $4::int[], $5::int[], $6::bigint[], $7::int[], $8,
     $9)`,
);

export interface StreamRef {
  readonly execution: string;
  readonly attempt: number;
}

/** Up to where a stream was read, by the numbers of each mode. */
export interface StreamPlace {
  /** Over all modes; below 0: not known, and the stream is looked at in any case. */
  readonly position: number;
  readonly durable: number;
  readonly version: number;
  readonly passing: number;
}

export interface StreamWanted extends StreamRef {
  readonly place: StreamPlace;
  readonly modes: readonly number[];
}

/** How an attempt ended. */
export interface Close {
  readonly outcome: number;
  /** Of the execution after it. */
  readonly state: number;
  readonly endedAt: Date;
}

export interface StoredFrame {
  readonly position: number;
  readonly mode: number;
  /** Within its mode. */
  readonly number: number;
  readonly at: Date;
  readonly type: string;
  readonly payloadType: string | null;
  readonly payload: Buffer | null;
}

export interface StreamPage {
  /** In order. */
  readonly frames: readonly StoredFrame[];
  /** Where the stream ends now. */
  readonly end: StreamPlace;
  /** There are more frames of the wanted modes than these. */
  readonly more: boolean;
  /** Patches up to this version are not kept any more. */
  readonly trimmed: number;
  readonly closed: Close | undefined;
}

export interface PageBounds {
  readonly frames: number;
  /** Of contents; one frame comes in any case. */
  readonly bytes: number;
}

interface Row {
  readonly ord: number;
  readonly position: bigint | null;
  readonly durable: number | null;
  readonly version: number | null;
  readonly passing: bigint | null;
  readonly trimmed: number | null;
  readonly more: boolean | null;
  readonly outcome: number | null;
  readonly state: number | null;
  readonly ended_at: Date | null;
  /** Null: the row is the stream's own. */
  readonly mode: number | null;
  readonly number: bigint;
  readonly appended_at: Date;
  readonly type: string;
  readonly payload_type: string | null;
  readonly payload: Buffer | null;
}

/** In the order of the streams; undefined where nothing is new, and the attempt has not ended. */
export async function readFrames(
  runner: Runner,
  wanted: readonly StreamWanted[],
  bounds: PageBounds,
): Promise<(StreamPage | undefined)[]> {
  const rows = await runner.query<Row>(read, [
    uuidArray(wanted.map(({ execution }) => execution)),
    int4Array(wanted.map(({ attempt }) => attempt)),
    int8Array(wanted.map(({ place }) => place.position)),
    int4Array(wanted.map(({ place }) => place.durable)),
    int4Array(wanted.map(({ place }) => place.version)),
    int8Array(wanted.map(({ place }) => place.passing)),
    int4Array(wanted.map(({ modes }) => modes.reduce((bits, mode) => bits | (1 << mode), 0))),
    bounds.frames,
    bounds.bytes,
  ]);
  const pages = new Map<number, StreamPage & { readonly frames: StoredFrame[] }>();
  for (const row of rows) if (row.mode === null) pages.set(row.ord, pageOf(row));
  for (const row of rows) if (row.mode !== null) pages.get(row.ord)?.frames.push(frameOf(row, row.mode));
  for (const { frames } of pages.values()) frames.sort((a, b) => a.position - b.position);
  return wanted.map((_, i) => pages.get(i + 1));
}

function pageOf({ position, durable, version, passing, trimmed, more, ...row }: Row) {
  const { outcome, state, ended_at: endedAt } = row;
  return {
    frames: [],
    end: {
      position: Number(position ?? 0n),
      durable: durable ?? 0,
      version: version ?? 0,
      passing: Number(passing ?? 0n),
    },
    more: more ?? false,
    trimmed: trimmed ?? 0,
    closed: outcome === null || state === null || endedAt === null ? undefined : { outcome, state, endedAt },
  };
}

function frameOf(row: Row, mode: number): StoredFrame {
  return {
    position: Number(row.position),
    mode,
    number: Number(row.number),
    at: row.appended_at,
    type: row.type,
    payloadType: row.payload_type,
    payload: row.payload,
  };
}
