/** Completes as completeAndClaim does, and stores in the same transaction what the completions emit. */
import { TRACES } from '../claims/index.js';
import type { Runner } from '../database.js';
import { type FrameLimits, frameParameters, type RefusedFrames } from '../frames/index.js';
import { statement } from '../statement.js';
import {
  completionParameters,
  type Handed,
  handed,
  type Line,
  type TakingEnding,
  takersOf,
} from './complete-and-claim.js';
import { emissionParameters, type RefusedEmission } from './emission.js';
import type { EndAnswer } from './end.js';

const completeWithEvents = statement(
  'leases.complete-with-events',
  `select to_json(x.ended) as ended, x.taker, x.emitted, x.stream, x.version, ${TRACES}, (x.claim).*
   from {schema}.complete_with_events($1::jsonb, $2::int[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bytea[], $7::text[],
     $8::int[], $9::int[], $10::bytea, $11::int[], $12::int[], $13::int[], $14::text[], $15::text[], $16::int[], $17::int[],
     $18::bytea, $19, $20, $21::int[], $22::text[], $23::text[], $24::bigint[], $25::uuid[], $26::int[], $27::int[],
     $28::int[], $29::jsonb[], $30::jsonb[], $31::timestamptz[], $32::text[], $33::int[], $34::int[], $35::bytea)
     with ordinality x (ended, taker, claim, emitted, stream, version, n)`,
);

type EventLine = Line & {
  readonly emitted: readonly string[] | null;
  readonly stream: string | null;
  readonly version: bigint | null;
};

type Answer = EndAnswer | RefusedFrames | RefusedEmission;

const NO_FRAMES = [null, null, null, null, null, null, null, null, null, null];

/**
 * Of an item that is refused nothing is written, and it goes on running. Items that bring both frames and events for streams
 * must come alone.
 */
export async function completeAndClaimWithEvents(
  runner: Runner,
  items: readonly TakingEnding[],
  limits: FrameLimits,
): Promise<Handed<Answer>> {
  const takers = takersOf(items);
  const framed = items.some(({ frames }) => frames && frames.length > 0);
  const lines = await runner.query<EventLine>(completeWithEvents, [
    ...completionParameters(items, takers),
    ...(framed
      ? [...frameParameters(items.map((item) => item.frames ?? [])), limits.frames, limits.summaryBytes]
      : NO_FRAMES),
    ...emissionParameters(items.map((item) => item.events ?? [])),
  ]);
  return handed<Answer>(lines.map(withEvents), takers);
}

function withEvents(line: EventLine): Line {
  if (line.ended === null) return line;
  const { emitted, stream, version } = line;
  return { ...line, ended: { ...line.ended, ...(emitted && { events: emitted }), ...(stream && { stream, version }) } };
}
