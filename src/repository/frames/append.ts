/** Appends frames to the output of running attempts, many streams in one transaction. */
import { int4Array, int8Array, uuidArray } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import type { LeaseRef, Refused } from '../leases/index.js';
import { statement } from '../statement.js';
import { type FrameLimits, frameParameters, type NewFrame, type RefusedFrames } from './new-frame.js';

const append = statement(
  'frames.append',
  `select * from {schema}.append_frames($1::int[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::int[], $7::int[],
     $8::int[], $9::text[], $10::text[], $11::int[], $12::int[], $13::bytea, $14, $15)`,
);

export interface Appending extends LeaseRef {
  readonly frames: readonly NewFrame[];
  /** How many DURABLE frames there are before these; null: whatever. */
  readonly expected: bigint | null;
}

/** Where the stream stands after an append. */
export interface StreamCounts {
  readonly attempt: number;
  /** DURABLE frames. */
  readonly durable: number;
  /** Patches: the version of the summary. */
  readonly version: number;
  /** BEST_EFFORT frames. */
  readonly passing: bigint;
}

export interface Appended extends StreamCounts {
  /** duplicate: they stood there before. */
  readonly verdict: 'appended' | 'duplicate';
  readonly cancel_at: Date | null;
  readonly cancel_until: Date | null;
  readonly cancel_accepts_late: boolean | null;
  readonly cancel_reason: string | null;
}

export type AppendAnswer = Appended | (RefusedFrames & StreamCounts) | Refused;

/** In the order of the items, which are distinct by execution. */
export async function appendFrames(
  runner: Runner,
  items: readonly Appending[],
  limits: FrameLimits,
): Promise<AppendAnswer[]> {
  const rows = await runner.query<AppendAnswer & { readonly ord: number }>(append, [
    int4Array(items.map((item) => item.namespace)),
    uuidArray(items.map((item) => item.execution)),
    uuidArray(items.map((item) => item.lease)),
    int8Array(items.map((item) => item.token)),
    int8Array(items.map((item) => item.expected)),
    ...frameParameters(items.map((item) => item.frames)),
    limits.frames,
    limits.summaryBytes,
  ]);
  return rows.sort((a, b) => a.ord - b.ord);
}
