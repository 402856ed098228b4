/**
 * Completes, and claims in the same transaction what that released: one commit per hop of a chain. The last frames of those
 * that have some are written with it.
 */
import { byteaArray, int4Array, int8Array, textArray, uuidArray } from '../binary-arrays.js';
import { packContents } from '../bytes.js';
import { type Granted, type Holder, TRACES, withTraces } from '../claims/index.js';
import type { Runner } from '../database.js';
import { type FrameLimits, frameParameters, type RefusedFrames } from '../frames/index.js';
import { statement } from '../statement.js';
import { type EndAnswer, type Ending, inOrder } from './end.js';

const complete = statement(
  'leases.complete-and-claim',
  `select to_json(x.ended) as ended, x.taker, ${TRACES}, (x.claim).*
   from {schema}.complete_and_claim($1::jsonb, $2::int[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[], $7::text[],
     $8::int[], $9::int[], $10::bytea) with ordinality x (ended, taker, claim, n)`,
);

const completeWithFrames = statement(
  'leases.complete-with-frames',
  `select to_json(x.ended) as ended, x.taker, ${TRACES}, (x.claim).*
   from {schema}.complete_with_frames($1::jsonb, $2::int[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[], $7::text[],
     $8::int[], $9::int[], $10::bytea, $11::int[], $12::int[], $13::int[], $14::text[], $15::text[], $16::int[], $17::int[],
     $18::bytea, $19, $20) with ordinality x (ended, taker, claim, n)`,
);

/** Who takes what the completions of one call release. */
export interface Taker {
  /** Classes its worker may be given. */
  readonly classes: readonly number[];
  readonly holder: Holder;
  /** Most executions to take. */
  readonly room: number;
}

/** A completion, and who takes what it releases. Completions of one call name the same taker. */
export interface TakingEnding extends Ending {
  readonly taker?: Taker | null;
}

export interface Handed<Answer = EndAnswer> {
  readonly answers: Answer[];
  readonly claims: ReadonlyMap<Taker, readonly Granted[]>;
}

export type Line = {
  readonly ended: RawEnded | null;
  readonly taker: number | null;
  readonly traces: string | null;
} & Granted;

/** As JSON writes it. */
type RawEnded = Omit<EndAnswer, 'token'> & {
  readonly ord: number;
  readonly token: number | null;
  readonly run_at: string | null;
  readonly ended_at: string | null;
};

export async function completeAndClaim(runner: Runner, items: readonly TakingEnding[]): Promise<Handed> {
  const takers = takersOf(items);
  return handed(await runner.query<Line>(complete, completionParameters(items, takers)), takers);
}

/** Of an item whose frames are refused nothing is written, and it goes on running. */
export async function completeAndClaimWithFrames(
  runner: Runner,
  items: readonly TakingEnding[],
  limits: FrameLimits,
): Promise<Handed<EndAnswer | RefusedFrames>> {
  const takers = takersOf(items);
  const frames = frameParameters(items.map((item) => item.frames ?? []));
  const parameters = [...completionParameters(items, takers), ...frames, limits.frames, limits.summaryBytes];
  return handed<EndAnswer | RefusedFrames>(await runner.query<Line>(completeWithFrames, parameters), takers);
}

export function takersOf(items: readonly TakingEnding[]): Taker[] {
  return [...new Set(items.flatMap(({ taker }) => taker ?? []))];
}

export function completionParameters(items: readonly TakingEnding[], takers: readonly Taker[]): unknown[] {
  const content = packContents(items.map((item) => item.content));
  return [
    JSON.stringify(
      takers.map((taker) => ({
        ords: items.flatMap((item, i) => (item.taker === taker ? [i + 1] : [])),
        classes: taker.classes,
        worker: taker.holder.instance,
        name: taker.holder.name,
        namespace: taker.holder.namespace,
        lease_ms: taker.holder.leaseMs,
        room: taker.room,
      })),
    ),
    int4Array(items.map((item) => item.namespace)),
    uuidArray(items.map((item) => item.execution)),
    uuidArray(items.map((item) => item.lease)),
    int8Array(items.map((item) => item.token)),
    byteaArray(items.map((item) => item.hash)),
    textArray(content.types),
    int4Array(content.positions),
    int4Array(content.lengths),
    content.bytes,
  ];
}

export function handed<Answer extends { readonly verdict: string }>(
  lines: readonly Line[],
  takers: readonly Taker[],
): Handed<Answer> {
  const answers = lines.flatMap(({ ended }) => (ended === null ? [] : [toAnswer<Answer>(ended)]));
  const claims = new Map<Taker, Granted[]>(takers.map((taker) => [taker, []]));
  for (const line of withTraces(lines, lines[0]?.traces)) {
    const taker = line.taker === null ? undefined : takers[line.taker];
    if (taker !== undefined) claims.get(taker)?.push(line);
  }
  return { answers: inOrder(answers), claims };
}

function toAnswer<Answer>(raw: RawEnded): Answer & { readonly ord: number } {
  const instant = (text: string | null) => (text === null ? null : new Date(text));
  return {
    ...raw,
    token: raw.token === null ? null : BigInt(raw.token),
    run_at: instant(raw.run_at),
    ended_at: instant(raw.ended_at),
  } as unknown as Answer & { readonly ord: number };
}
