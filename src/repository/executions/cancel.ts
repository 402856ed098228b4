/** Cancels one execution wherever it stands. */
import { actingAs } from '../acting.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const cancel = statement(
  'executions.cancel',
  actingAs(
    '$9',
    'verdict, state, ended_at, barrier, woken, follows',
    (namespace) => `{schema}.cancel_execution(${namespace}, $2, $3, $4, $5, $6, $7, $8)`,
  ),
);

export interface Cancellation {
  readonly namespace: number;
  readonly execution: string;
  /** End running work at once instead of asking its holder. */
  readonly now: boolean;
  readonly graceMs: number;
  readonly acceptsLate: boolean;
  readonly actor: string;
  readonly reason: string;
  /** When the holder itself cancels. */
  readonly lease: { readonly id: string; readonly token: bigint } | null;
}

export interface CancelAnswer {
  /** lost: the lease that was shown does not hold the execution. */
  readonly verdict: 'canceled' | 'requested' | 'already_requested' | 'terminal' | 'not_found' | 'lost';
  readonly state: number | null;
  readonly ended_at: Date | null;
  /** The join of the children it waited for: they are canceled right after. */
  readonly barrier: string | null;
  /** Classes that got claimable work by its end. */
  readonly woken: readonly number[] | null;
  readonly follows: boolean | null;
}

export async function cancelExecution(runner: Runner, asked: Cancellation): Promise<CancelAnswer> {
  const [row] = await runner.query<CancelAnswer>(cancel, [
    asked.namespace,
    asked.execution,
    asked.now,
    asked.graceMs,
    asked.acceptsLate,
    asked.reason,
    asked.lease?.id ?? null,
    asked.lease?.token ?? null,
    asked.actor,
  ]);
  if (row === undefined) throw new Error('cancel_execution answered nothing');
  return row;
}

const children = statement(
  'executions.children-of-join',
  `select s.upstream as execution, coalesce(o.state, {schema}.state_of(s.upstream))::int as state, o.ended_at
   from {schema}.slot s
   left join lateral (select x.state, x.ended_at from {schema}.outcome x where x.execution = s.upstream offset 0) o on true
   where s.barrier = $1::uuid order by s.idx limit $2`,
);

export interface Child {
  readonly execution: string;
  readonly state: number;
  readonly ended_at: Date | null;
}

/** The children that a join waits for, as they stand. */
export function readChildren(runner: Runner, join: string, limit: number): Promise<Child[]> {
  return runner.query<Child>(children, [join, limit]);
}
