/** Takes parts of a consumer for an owner, up to its share, in one statement. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const acquire = statement(
  'consumers.acquire',
  `select a.verdict, a.next_ms, a.held_by, a.held_until, a.halted_position, a.reason, a.woke, p.generation, p.part, p.epoch,
     p.position, p.expires_at
   from {schema}.acquire_parts($1, $2, $3, $4, $5, $6, $7) a left join lateral unnest(a.parts) p on true`,
);

export interface AcquireAsk {
  readonly namespace: number;
  readonly consumer: string;
  readonly owner: string;
  readonly maxParts: number;
  /** 0: the live one. */
  readonly generation: bigint;
  readonly leaseMs: number;
  /** Until the caller looks again; it counts as a member so long. */
  readonly waitMs: number;
}

export interface HeldPart {
  readonly generation: bigint;
  readonly part: number;
  readonly epoch: bigint;
  readonly position: bigint;
  readonly expiresAt: Date;
}

export interface AcquireAnswer {
  /** none: others have them all. */
  readonly verdict: 'held' | 'none' | 'paused' | 'halted' | 'not_found' | 'no_generation';
  /** All that the owner has now. */
  readonly parts: readonly HeldPart[];
  /** Milliseconds until a part of somebody else runs out; null when nobody else has one. */
  readonly nextMs: number | null;
  readonly heldBy: string | null;
  readonly heldUntil: Date | null;
  /** Where the generation was halted. */
  readonly haltedPosition: bigint | null;
  /** Why it is paused or halted. */
  readonly reason: string | null;
  /** Others have to look: they have parts that are wanted. */
  readonly woke: boolean;
}

interface AcquireRow {
  readonly verdict: AcquireAnswer['verdict'];
  readonly next_ms: number | null;
  readonly held_by: string | null;
  readonly held_until: Date | null;
  readonly halted_position: bigint | null;
  readonly reason: string | null;
  readonly woke: boolean;
  /** Null from here on without a part. */
  readonly generation: bigint | null;
  readonly part: number;
  readonly epoch: bigint;
  readonly position: bigint;
  readonly expires_at: Date;
}

export async function acquireParts(runner: Runner, asked: AcquireAsk): Promise<AcquireAnswer> {
  const { namespace, consumer, owner, maxParts, generation, leaseMs, waitMs } = asked;
  const values = [namespace, consumer, owner, maxParts, generation, leaseMs, Math.ceil(waitMs)];
  const rows = await runner.query<AcquireRow>(acquire, values);
  const [first] = rows;
  if (first === undefined) throw new Error('acquire_parts answered nothing');
  return {
    verdict: first.verdict,
    parts: rows.flatMap(({ generation: of, part, epoch, position, expires_at: expiresAt }) =>
      of === null ? [] : [{ generation: of, part, epoch, position, expiresAt }],
    ),
    nextMs: first.next_ms,
    heldBy: first.held_by,
    heldUntil: first.held_until,
    haltedPosition: first.halted_position,
    reason: first.reason,
    woke: first.woke,
  };
}
