/** The log's partitions: the one in use and the next two. Made ahead by a loop, and by a writer that finds none. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const ensure = statement('log.ensure-partitions', 'select {schema}.ensure_log_partitions($1::bigint) as made');

/** Transactions per partition. About 5 GB at 500 bytes each. */
export const LOG_PARTITION_STEP = 10_000_000;

/** Answers how many were made. Repeating it, also by several at once, changes nothing. */
export async function ensureLogPartitions(runner: Runner, step = LOG_PARTITION_STEP): Promise<number> {
  const [row] = await runner.query<{ made: number }>(ensure, [step]);
  return row?.made ?? 0;
}
