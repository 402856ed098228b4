/** Makes the execution tables' partitions ahead of time. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const ensure = statement('sweeping.partitions', 'select {schema}.ensure_partitions($1) as days');

/** Answers how many days ahead are covered. `days`: width of a new partition. Safe to repeat and to run at once. */
export async function ensureExecutionPartitions(runner: Runner, days: number): Promise<number> {
  const [row] = await runner.query<{ days: number }>(ensure, [days]);
  return row?.days ?? 0;
}
