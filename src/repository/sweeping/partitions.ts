/** Makes the partitions by time ahead of it. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const extend = statement(
  'sweeping.partitions',
  'select ahead_ms, wanted_ms from {schema}.extend_partitions($1::bigint, $2::bigint)',
);

export interface PartitionsAhead {
  readonly aheadMs: number;
  /** How far they should reach. */
  readonly wantedMs: number;
}

/** Width of a new partition, and how far they must reach whatever that means. Safe to repeat and to run at once. */
export async function extendPartitions(runner: Runner, widthMs: number, reachMs: number): Promise<PartitionsAhead> {
  const [row] = await runner.query<{ ahead_ms: bigint; wanted_ms: bigint }>(extend, [widthMs, reachMs]);
  return { aheadMs: Number(row?.ahead_ms ?? 0), wantedMs: Number(row?.wanted_ms ?? 0) };
}
