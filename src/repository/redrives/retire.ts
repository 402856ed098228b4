/** Forgets bulk redrives that ended long ago, a batch at a time. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const retire = statement('redrives.retire', 'select {schema}.retire_redrives($1, $2) as gone');

const BATCH = 1_000;

/** True while there may be more. */
export async function retireRedrives(runner: Runner, keptMs: number): Promise<boolean> {
  const [row] = await runner.query<{ gone: number }>(retire, [keptMs, BATCH]);
  return (row?.gone ?? 0) > 0;
}
