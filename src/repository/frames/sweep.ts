/** Drops BEST_EFFORT frames whose time is over. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const sweep = statement('frames.sweep', 'select {schema}.sweep_passing_frames($1) as gone');

const BATCH = 5_000;

/** All there are, in batches. Any process may do it at any moment. */
export async function sweepPassingFrames(runner: Runner): Promise<void> {
  for (let gone = BATCH; gone >= BATCH; ) {
    const [row] = await runner.query<{ gone: number }>(sweep, [BATCH]);
    gone = row?.gone ?? 0;
  }
}
