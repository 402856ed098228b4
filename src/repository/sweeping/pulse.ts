/** The one statement a second that an idle process sends: what changed, what is due, where work lies. */
import type { Segment } from '../claims/index.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type SweepSubject, TIMED, type TimedSubject } from './sweep.js';

const pulse = statement(
  'sweeping.pulse',
  `select registry, scheduled_ms, lease_ms, timer_ms, join_ms, follow_ms, suspension_ms, budget_ms, route_ms,
     non_empty, head, unnumbered, consumers, letter_ms, redrives
   from {schema}.pulse($1::int[], $2::smallint[], $3::bigint[], $4::smallint[], $5::float8[])`,
);

export interface Pulse {
  /** Version of classes and lanes. */
  readonly registry: bigint;
  /** Milliseconds until something is due; absent when that is more than three seconds away, or there is nothing. */
  readonly dueMs: Readonly<Partial<Record<SweepSubject, number>>>;
  /** Which of the given classes have claimable work. */
  readonly nonEmpty: readonly number[];
  /** The last position of the log. */
  readonly head: bigint;
  /** Whether transactions have committed that have no position in the log yet. */
  readonly unnumbered: boolean;
  /** Version of all consumers. */
  readonly consumers: bigint;
  /** Some bulk redrive has not ended, or something that it started. */
  readonly redrives: boolean;
}

interface PulseRow {
  readonly registry: bigint;
  readonly scheduled_ms: number | null;
  readonly lease_ms: number | null;
  readonly timer_ms: number | null;
  readonly join_ms: number | null;
  readonly follow_ms: number | null;
  readonly suspension_ms: number | null;
  readonly budget_ms: number | null;
  readonly route_ms: number | null;
  readonly letter_ms: number | null;
  readonly non_empty: number[] | null;
  readonly head: bigint;
  readonly unnumbered: boolean;
  readonly consumers: bigint;
  readonly redrives: boolean;
}

/** How far back to look for what is due, in milliseconds; of subjects that are not named, to the beginning. */
export type Behind = Readonly<Partial<Record<TimedSubject, number | undefined>>>;

/**
 * `segments`: the lines somebody in this process waits for. `behind` absent: it is looked for everything, also for what is in
 * no order of time (fillings, events for the router, letters).
 */
export async function readPulse(runner: Runner, segments: readonly Segment[], behind?: Behind): Promise<Pulse> {
  const [row] = await runner.query<PulseRow>(pulse, [
    segments.map((segment) => segment.class),
    segments.map((segment) => segment.fromPriority),
    segments.map((segment) => segment.fromSeq),
    segments.map((segment) => segment.toPriority),
    behind ? TIMED.map((subject) => behind[subject] ?? null) : null,
  ]);
  if (row === undefined) throw new Error('pulse answered nothing');
  return {
    registry: row.registry,
    dueMs: {
      ...(row.scheduled_ms !== null && { scheduled: row.scheduled_ms }),
      ...(row.lease_ms !== null && { leases: row.lease_ms }),
      ...(row.timer_ms !== null && { timers: row.timer_ms }),
      ...(row.join_ms !== null && { joins: row.join_ms }),
      ...(row.follow_ms !== null && { followUps: row.follow_ms }),
      ...(row.suspension_ms !== null && { suspensions: row.suspension_ms }),
      ...(row.budget_ms !== null && { budgets: row.budget_ms }),
      ...(row.route_ms !== null && { routes: row.route_ms }),
      ...(row.letter_ms !== null && { letters: row.letter_ms }),
    },
    nonEmpty: row.non_empty ?? [],
    head: row.head,
    unnumbered: row.unnumbered,
    consumers: row.consumers,
    redrives: row.redrives,
  };
}
