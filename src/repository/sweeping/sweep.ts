/** What time does to waiting and running work, in small batches that any process may run at any moment. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const promoteScheduled = statement(
  'sweeping.scheduled',
  'select taken, classes, next_ms, follows from {schema}.promote_scheduled($1, $2)',
);
const sweepLeases = statement(
  'sweeping.leases',
  'select taken, classes, next_ms, follows from {schema}.sweep_leases($1, $2)',
);
const sweepTimers = statement(
  'sweeping.timers',
  'select taken, classes, next_ms, follows from {schema}.sweep_timers($1, $2)',
);
const sweepFollowUps = statement(
  'sweeping.follow-ups',
  'select taken, classes, next_ms, lease_ms, routes from {schema}.sweep_follow_ups($1, $2)',
);

const foldFillings = statement('sweeping.fillings', 'select taken, classes, next_ms from {schema}.fold_fillings($1)');
const expireJoins = statement('sweeping.joins', 'select taken, classes, next_ms from {schema}.expire_joins($1, $2)');

const sweepSuspensions = statement(
  'sweeping.suspensions',
  'select taken, classes, next_ms, follows from {schema}.sweep_suspensions($1, $2)',
);
const sweepBudgets = statement(
  'sweeping.budgets',
  'select taken, classes, next_ms, follows from {schema}.sweep_budgets($1, $2)',
);
const sweepRoutes = statement(
  'sweeping.routes',
  'select taken, classes, next_ms, follows from {schema}.sweep_routes($1)',
);

const handOutLetters = statement(
  'sweeping.letters',
  'select taken, classes, next_ms from {schema}.hand_out_letters($1)',
);

const BY_SUBJECT = {
  scheduled: promoteScheduled,
  leases: sweepLeases,
  timers: sweepTimers,
  fillings: foldFillings,
  joins: expireJoins,
  followUps: sweepFollowUps,
  suspensions: sweepSuspensions,
  budgets: sweepBudgets,
  routes: sweepRoutes,
  letters: handOutLetters,
} as const;

/**
 * scheduled: due work becomes claimable. leases: what ran out. timers: what waited too long. fillings: slots
 * to be folded into their joins. joins: those whose time is up. followUps: what commits left to be done in flows, joins and
 * concurrency keys. suspensions: those whose time is up, and waitpoints that expire. budgets: windows that end, work to be
 * held back or let go on. routes: what publishing left over becomes executions. letters: so do those that handlers want.
 */
export type SweepSubject = keyof typeof BY_SUBJECT;

/** Those that are done in the order of their times, as the pulse takes them. */
export const TIMED = ['scheduled', 'leases', 'timers', 'joins', 'followUps', 'suspensions', 'budgets'] as const;
export type TimedSubject = (typeof TIMED)[number];

function isTimed(subject: SweepSubject): subject is TimedSubject {
  return (TIMED as readonly SweepSubject[]).includes(subject);
}

export interface Swept {
  /** Due rows taken; as many as the limit means there may be more. */
  readonly taken: number;
  /** Classes that got claimable work. */
  readonly classes: readonly number[];
  /** Until the next row is due; undefined when that is more than three seconds away, or there is none. */
  readonly nextMs: number | undefined;
  /** Work was left to fillings or followUps. */
  readonly follows: boolean;
  /** Holders were asked to stop, and have so long. */
  readonly leaseMs: number | undefined;
  /** Events wait for the router, perhaps since something was given up. */
  readonly routes: boolean;
}

interface SweptRow {
  readonly taken: number;
  readonly classes: number[] | null;
  readonly next_ms: number | null;
  readonly follows?: boolean | null;
  readonly lease_ms?: bigint | null;
  readonly routes?: boolean;
}

/** `behindMs`: what was due longer ago than that need not be looked for; default: everything is. Only of what is timed. */
export async function sweep(runner: Runner, subject: SweepSubject, limit: number, behindMs?: number): Promise<Swept> {
  const values = isTimed(subject) ? [limit, behindMs ?? null] : [limit];
  const [row] = await runner.query<SweptRow>(BY_SUBJECT[subject], values);
  return {
    taken: row?.taken ?? 0,
    classes: row?.classes ?? [],
    nextMs: row?.next_ms ?? undefined,
    follows: row?.follows ?? false,
    leaseMs: row?.lease_ms === null || row?.lease_ms === undefined ? undefined : Number(row.lease_ms),
    routes: row?.routes ?? false,
  };
}
