/** What running attempts used, counted in the budgets that bound them. */
import type { Runner } from '../database.js';
import type { LeaseRef, Refused } from '../leases/index.js';
import { statement } from '../statement.js';

const report = statement(
  'budgets.report',
  `select verdict, state, attempt, token, answer, cancel_at, cancel_until, cancel_accepts_late, cancel_reason, class,
     woken, follows, due
   from {schema}.report_usage($1, $2, $3, $4, $5::text[], $6::bigint[], $7, $8, $9)`,
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
  readonly woken: readonly number[] | null;
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
  readonly class: number | null;
}

export type UsageAnswer =
  | Counted
  | Exceeded
  | Refused
  /** reused: the key came with other content. crowded: the attempt would have more dimensions than it may. */
  | { readonly verdict: 'reused' }
  | { readonly verdict: 'crowded' };

export async function reportUsage(runner: Runner, asked: UsageReport): Promise<UsageAnswer> {
  const [answer] = await runner.query<UsageAnswer>(report, [
    asked.namespace,
    asked.execution,
    asked.lease,
    asked.token,
    asked.usage.map(([dimension]) => dimension),
    asked.usage.map(([, amount]) => amount),
    asked.key,
    asked.hash,
    asked.maxDimensions,
  ]);
  if (answer === undefined) throw new Error('report_usage answered nothing');
  return answer;
}
