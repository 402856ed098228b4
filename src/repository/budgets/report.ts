/** What running attempts used, counted in the budgets that bound them. */
import type { Runner } from '../database.js';
import type { LeaseRef, Refused } from '../leases/index.js';
import { statement } from '../statement.js';

const reportMany = statement(
  'budgets.report-many',
  `select ord, verdict, state, attempt, token, answer, cancel_at, cancel_until, cancel_accepts_late, cancel_reason, due,
     false as follows
   from {schema}.report_usages($1::int[], $2::uuid[], $3::uuid[], $4::bigint[], $5::jsonb[], $6::text[], $7::bytea[], $8)`,
);

const report = statement(
  'budgets.report',
  `select verdict, state, attempt, token, answer, cancel_at, cancel_until, cancel_accepts_late, cancel_reason, class,
     woken, follows, due
   from {schema}.report_usage($1, $2, $3, $4, $5::jsonb, $6, $7, $8)`,
);

export interface UsageReport extends LeaseRef {
  /** By dimension, sorted; distinct dimensions, no negative amount. */
  readonly usage: readonly (readonly [string, bigint])[];
  /** Null: every call counts. */
  readonly key: string | null;
  /** Of key and usage. */
  readonly hash: Buffer;
  /** Of one attempt. */
  readonly maxDimensions: number;
}

export interface Warning {
  readonly budget: string;
  readonly dimension: string;
  /** Numbers as text: they may be larger than a double can tell. */
  readonly used: string;
  readonly hard: string;
  readonly soft: string;
}

export interface Breach {
  readonly budget: string;
  readonly dimension: string;
  readonly used: string;
  readonly limit: string;
  /** Of the execution, after it. */
  readonly state: number;
  /** The dead letter it opened. */
  readonly letter?: string | null;
}

interface Consequences {
  readonly woken?: readonly number[] | null;
  readonly follows: boolean;
  /** The sweeper of budgets has something to do. */
  readonly due: boolean;
}

export interface Counted extends Consequences {
  /** duplicate: counted by an earlier call with this key. */
  readonly verdict: 'counted' | 'duplicate';
  readonly answer: { readonly warnings: readonly Warning[] };
  readonly cancel_at: Date | null;
  readonly cancel_until: Date | null;
  readonly cancel_accepts_late: boolean | null;
  readonly cancel_reason: string | null;
}

/** Nothing was counted. */
export interface Exceeded extends Consequences {
  readonly verdict: 'exceeded';
  readonly answer: Breach;
  /** Of the execution; null in a repeat. */
  readonly class?: number | null;
}

export type UsageAnswer =
  | Counted
  | Exceeded
  | Refused
  /** reused: the key came with other content. crowded: the attempt would have more dimensions than it may. */
  | { readonly verdict: 'reused' }
  | { readonly verdict: 'crowded' };

/** alone: it did nothing; reportUsage has to do it. busy: the lease was locked by somebody. */
export type GroupedUsageAnswer = UsageAnswer | { readonly verdict: 'alone' };

/** Distinct by execution; answers in the order of the reports. */
export async function reportUsages(runner: Runner, asked: readonly UsageReport[]): Promise<GroupedUsageAnswer[]> {
  const rows = await runner.query<GroupedUsageAnswer & { readonly ord: number }>(reportMany, [
    asked.map(({ namespace }) => namespace),
    asked.map(({ execution }) => execution),
    asked.map(({ lease }) => lease),
    asked.map(({ token }) => token),
    asked.map(({ usage }) => amountsOf(usage)),
    asked.map(({ key }) => key),
    asked.map(({ hash }) => hash),
    Math.max(...asked.map(({ maxDimensions }) => maxDimensions)),
  ]);
  return rows.sort((a, b) => a.ord - b.ord);
}

function amountsOf(usage: UsageReport['usage']): string {
  return JSON.stringify(Object.fromEntries(usage.map(([dimension, amount]) => [dimension, String(amount)])));
}

/** One, whatever its breach leads to. */
export async function reportUsage(runner: Runner, asked: UsageReport): Promise<UsageAnswer> {
  const [answer] = await runner.query<UsageAnswer>(report, [
    asked.namespace,
    asked.execution,
    asked.lease,
    asked.token,
    amountsOf(asked.usage),
    asked.key,
    asked.hash,
    asked.maxDimensions,
  ]);
  if (answer === undefined) throw new Error('report_usage answered nothing');
  return answer;
}
