/** The holder parks its open attempt until a condition over signals holds, unless it holds already. */
import type { Condition } from '../../domain/condition.js';
import type { Runner } from '../database.js';
import type { LeaseRef, Refused } from '../leases/index.js';
import { statement } from '../statement.js';
import type { HeldWaitpoint, NewWaitpoint } from './waitpoint.js';

const park = statement(
  'suspensions.suspend',
  `select verdict, subject, again, state, attempt, token, number, timeout_at, waitpoints, class, classes, left_over
   from {schema}.suspend($1, $2, $3, $4, $5, $6, $7::smallint, $8::jsonb, $9, $10, $11::smallint, $12, $13::text[], $14,
     $15::uuid[], $16::text[], $17::bigint[], $18, $19)`,
);

export interface Suspending extends LeaseRef {
  /** Of all that is asked for. */
  readonly hash: Buffer;
  /** Of the idempotency key; null without one. */
  readonly once: Buffer | null;
  readonly reason: number;
  readonly condition: Condition;
  readonly note: string;
  readonly timeoutMs: number | null;
  readonly behavior: number;
  readonly resumeDelayMs: number;
  /** Keys of the waitpoints that the condition names. */
  readonly named: readonly string[];
  /** The condition counts waitpoints: perhaps more than there are. */
  readonly countsWaitpoints: boolean;
  readonly waitpoints: readonly NewWaitpoint[];
  /** Signs the tokens of those that are not there yet; null when none are asked for. */
  readonly secret: number | null;
  /** Most waitpoints of one execution. */
  readonly mostWaitpoints: number;
}

export interface Suspended {
  /** satisfied: the condition held already, the lease is kept. */
  readonly verdict: 'parked' | 'satisfied';
  /** An earlier call had done it. */
  readonly again: boolean;
  readonly attempt: number;
  /** How often the attempt has been parked, this time included. */
  readonly number: number;
  readonly timeoutAt: Date | null;
  /** Those asked for, in order. */
  readonly waitpoints: readonly HeldWaitpoint[];
  /** Of the lease that was given up; null when none was by this call. */
  readonly class: number | null;
  /** Classes that got claimable work by the slot of its key that it gave up. */
  readonly woken: readonly number[];
  /** Something is left to be done after the commit (SweepSubject followUps). */
  readonly follows: boolean;
}

export interface RefusedSuspension {
  /**
   * missing, closed: a waitpoint. full: of waitpoints. impossible: it counts waitpoints that are not there. canceled: its
   * flow. reused: the idempotency key.
   */
  readonly verdict: (typeof REFUSALS)[number];
  /** Key of the waitpoint. */
  readonly subject: string | null;
}

const REFUSALS = ['missing', 'closed', 'full', 'impossible', 'cancel_requested', 'canceled', 'reused'] as const;

export function isRefusedSuspension(answer: { readonly verdict: string }): answer is RefusedSuspension {
  return (REFUSALS as readonly string[]).includes(answer.verdict);
}

interface Row {
  readonly verdict: Suspended['verdict'] | RefusedSuspension['verdict'] | Refused['verdict'];
  readonly subject: string | null;
  readonly again: boolean;
  readonly state: number | null;
  readonly attempt: number | null;
  readonly token: bigint | null;
  readonly number: number | null;
  readonly timeout_at: Date | null;
  readonly waitpoints: readonly HeldWaitpoint[] | null;
  readonly class: number | null;
  readonly classes: readonly number[] | null;
  readonly left_over: boolean | null;
}

export async function suspend(runner: Runner, asked: Suspending): Promise<Suspended | RefusedSuspension | Refused> {
  const { waitpoints } = asked;
  const [row] = await runner.query<Row>(park, [
    asked.namespace,
    asked.execution,
    asked.lease,
    asked.token,
    asked.hash,
    asked.once,
    asked.reason,
    JSON.stringify(asked.condition),
    asked.note,
    asked.timeoutMs,
    asked.behavior,
    asked.resumeDelayMs,
    asked.named,
    asked.countsWaitpoints,
    waitpoints.map(({ id }) => id),
    waitpoints.map(({ key }) => key),
    waitpoints.map(({ expiryMs }) => expiryMs),
    asked.secret,
    asked.mostWaitpoints,
  ]);
  if (row === undefined) throw new Error('suspend answered nothing');
  const { verdict, subject, state, attempt, token } = row;
  if (verdict !== 'parked' && verdict !== 'satisfied') {
    return isRefusedSuspension({ verdict })
      ? ({ verdict, subject } as RefusedSuspension)
      : ({ verdict, state, attempt, token } as Refused);
  }
  return {
    verdict,
    again: row.again,
    attempt: attempt ?? 0,
    number: row.number ?? 0,
    timeoutAt: row.timeout_at,
    waitpoints: row.waitpoints ?? [],
    class: row.class,
    woken: row.classes ?? [],
    follows: row.left_over ?? false,
  };
}
