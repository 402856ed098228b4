/** The used-up budgets that keep an execution from being started. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'budgets.spent',
  `select b.name, u.dimension, u.used, u.hard as hard_limit, b.reset_at
   from (values (1, 0, '00000000-0000-0000-0000-000000000000'::uuid), (2, $2::int, '00000000-0000-0000-0000-000000000000'),
     (3, 0, $3::uuid), (4, 0, $4::uuid)) k (kind, lane, subject)
   cross join lateral (
     select y.budget from {schema}.spent y
     where y.namespace = $1::int and y.kind = k.kind and y.lane = k.lane and y.subject = k.subject offset 0) s
   cross join lateral (select y.* from {schema}.budget y where y.id = s.budget offset 0) b
   cross join lateral {schema}.budget_use(array[b.id]) u
   where u.used >= u.hard
   group by 1, 2, 3, 4, 5
   order by 1, 2`,
);

export interface SpentDimension {
  /** Of the budget. */
  readonly name: string;
  readonly dimension: string;
  readonly used: bigint;
  readonly hard_limit: bigint;
  /** When use starts anew; null without a window. */
  readonly reset_at: Date | null;
}

export interface BoundSubject {
  /** Number of its lane. */
  readonly lane: number;
  readonly flow: string | null;
  readonly execution: string;
}

/** Empty when no budget holds it back; else every dimension that is used up, by budget and dimension. */
export function readSpentFor(runner: Runner, namespace: number, of: BoundSubject): Promise<SpentDimension[]> {
  return runner.query<SpentDimension>(read, [namespace, of.lane, of.flow, of.execution]);
}
