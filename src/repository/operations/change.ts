/** Changes priority or run time of waiting work. */
import { actingAs } from '../acting.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const change = statement(
  'operations.change',
  actingAs(
    '$6',
    'verdict, state, classes as woken, follows',
    (namespace) => `{schema}.change_execution(${namespace}, $2, $3::smallint, $4::timestamptz, $5)`,
  ),
);

export interface ExecutionChange {
  readonly namespace: number;
  readonly execution: string;
  /** Null: unchanged. */
  readonly priority: number | null;
  readonly runAt: Date | null;
  readonly actor: string;
  readonly reason: string;
}

export interface ChangeAnswer {
  readonly verdict: 'changed' | 'wrong_state' | 'not_found';
  readonly state: number | null;
  /** What the slot of its key brought about, as tellConsequences takes it. */
  readonly woken: readonly number[] | null;
  readonly follows: boolean | null;
}

export async function changeExecution(runner: Runner, asked: ExecutionChange): Promise<ChangeAnswer> {
  const { namespace, execution, priority, runAt, actor, reason } = asked;
  const [row] = await runner.query<ChangeAnswer>(change, [namespace, execution, priority, runAt, reason, actor]);
  if (row === undefined) throw new Error('change_execution answered nothing');
  return row;
}
