/**
 * An attempt: written once when it ends; an open one is its lease, or is parked while its execution waits. All are read in
 * one statement, so that an attempt which ends or goes on at this moment is seen as one or the other.
 */

/** Joins to `page (k1, k2)`, a list of execution ids and attempt numbers. */
export const ATTEMPT_JOINS = `
   left join lateral (
     select x.* from {schema}.attempt x where x.execution = page.k1 and x.number = page.k2 limit 1) a on true
   left join lateral (
     select x.* from {schema}.lease x where x.execution = page.k1 and x.attempt = page.k2 limit 1) l on true
   left join lateral (
     select x.* from {schema}.parked x where x.execution = page.k1 and x.number = page.k2 limit 1) p on true
   left join lateral (select x.flow, x.class from {schema}.execution x where x.id = page.k1 limit 1) e on true
   cross join lateral (
     select c.type, n.name as lane from {schema}.claim_class c join {schema}.lane n on n.id = c.lane
     where c.id = coalesce(a.class, l.class, e.class) limit 1) c`;

/** `inline`: expression, the size up to which failure details come along. */
export function attemptColumns(inline: string): string {
  const either = (column: string) => `coalesce(a.${column}, l.${column}, p.${column})`;
  return `page.k1 as execution, page.k2 as number, c.lane, c.type, e.flow, ${either('kind')}::int as kind,
     a.outcome::int as outcome, ${either('worker')} as worker, ${either('worker_name')} as worker_name,
     ${either('token')} as token, ${either('ready_at')} as ready_at, ${either('started_at')} as started_at,
     a.ended_at, clock_timestamp() as now, a.run_at, a.failure_class, a.failure_code, a.message, a.details_type,
     case when octet_length(a.details) <= ${inline} then a.details end as details,
     ${either('progress_percent')} as progress_percent, ${either('progress_message')} as progress_message,
     ${either('progress_at')} as progress_at, ${either('usage')} as usage`;
}

export interface AttemptRow {
  readonly execution: string;
  readonly number: number;
  readonly lane: string;
  readonly type: string;
  readonly flow: string | null;
  readonly kind: number;
  /** Null while it is open, and so is the end. */
  readonly outcome: number | null;
  readonly worker: string;
  readonly worker_name: string;
  readonly token: bigint;
  readonly ready_at: Date;
  readonly started_at: Date;
  readonly ended_at: Date | null;
  readonly now: Date;
  /** When the next attempt may start, if this one put it off. */
  readonly run_at: Date | null;
  readonly failure_class: number | null;
  readonly failure_code: string | null;
  readonly message: string | null;
  readonly details_type: string | null;
  /** Null also where they were too large to come along. */
  readonly details: Buffer | null;
  readonly progress_percent: number | null;
  readonly progress_message: string | null;
  readonly progress_at: Date | null;
  /** Amounts by dimension, as text; null when it reported none. */
  readonly usage: Readonly<Record<string, string>> | null;
}
