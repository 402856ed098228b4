/** Lets the use of a budget begin at 0 again. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const reset = statement(
  'budgets.reset',
  'select verdict, version, missing, due from {schema}.reset_budget($1, $2, $3::text[], $4, $5, $6)',
);

export interface BudgetReset {
  readonly namespace: number;
  readonly name: string;
  /** Null: all. */
  readonly dimensions: readonly string[] | null;
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly actor: string;
  readonly reason: string;
}

export interface ResetAnswer {
  /** conflict: `version` is another one than expected. unknown: it has no dimension `missing`. */
  readonly verdict: 'reset' | 'not_found' | 'conflict' | 'unknown';
  readonly version: bigint;
  readonly missing: string | null;
  /** The sweeper of budgets has something to do. */
  readonly due: boolean;
}

export async function resetBudget(runner: Runner, asked: BudgetReset): Promise<ResetAnswer> {
  const { namespace, name, dimensions, expectedVersion, actor, reason } = asked;
  const [answer] = await runner.query<ResetAnswer>(reset, [
    namespace,
    name,
    dimensions,
    expectedVersion,
    actor,
    reason,
  ]);
  if (answer === undefined) throw new Error('reset_budget answered nothing');
  return answer;
}
