/** What time does to waiting and running work, in small batches that any process may run at any moment. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const promoteScheduled = statement(
  'sweeping.scheduled',
  'select taken, classes, next_ms from {schema}.promote_scheduled($1)',
);
const sweepLeases = statement('sweeping.leases', 'select taken, classes, next_ms from {schema}.sweep_leases($1)');
const sweepTimers = statement(
  'sweeping.timers',
  'select taken, null::int[] as classes, next_ms from {schema}.sweep_timers($1)',
);

const BY_SUBJECT = { scheduled: promoteScheduled, leases: sweepLeases, timers: sweepTimers } as const;

/** scheduled: due work becomes claimable. leases: what ran out. timers: what waited too long. */
export type SweepSubject = keyof typeof BY_SUBJECT;

export interface Swept {
  /** Due rows taken; as many as the limit means there may be more. */
  readonly taken: number;
  /** Classes that got claimable work. */
  readonly classes: readonly number[];
  /** Until the next row is due; undefined when there is none. */
  readonly nextMs: number | undefined;
}

export async function sweep(runner: Runner, subject: SweepSubject, limit: number): Promise<Swept> {
  const [row] = await runner.query<{ taken: number; classes: number[] | null; next_ms: number | null }>(
    BY_SUBJECT[subject],
    [limit],
  );
  return { taken: row?.taken ?? 0, classes: row?.classes ?? [], nextMs: row?.next_ms ?? undefined };
}
