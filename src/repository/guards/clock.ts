/** How far the clock of the database is ahead of this process's. */
import { monotonicMs, wallMs } from '../../runtime/clock.js';
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement('guards.clock', `select extract(epoch from clock_timestamp())::double precision * 1000 as ms`);
const TRIES = 3;

export interface ClockSkew {
  /** Positive: the database is ahead. */
  readonly aheadMs: number;
  /** It may be this much more or less: half of the round trip. */
  readonly uncertainMs: number;
}

/** The best of three tries, the one whose answer came soonest. */
export async function readClockSkew(runner: Runner): Promise<ClockSkew> {
  let best: ClockSkew = { aheadMs: 0, uncertainMs: Number.POSITIVE_INFINITY };
  for (let tries = 0; tries < TRIES; tries++) {
    const [sentMs, sentAt] = [monotonicMs(), wallMs()];
    const [row] = await runner.query<{ ms: number }>(read);
    const uncertainMs = (monotonicMs() - sentMs) / 2;
    if (uncertainMs < best.uncertainMs) best = { aheadMs: (row?.ms ?? 0) - (sentAt + uncertainMs), uncertainMs };
  }
  return best;
}
