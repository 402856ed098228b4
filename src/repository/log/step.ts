/** One step of the sequencer: positions for what has committed. What it does and why stands in its migration (0003). */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const step = statement('log.step', 'select busy, numbered, head, open_holes, more from {schema}.log_step($1::int)');

/**
 * `busy`: somebody else is at it and may not have seen the caller's last commit; ask again in a millisecond or two.
 * `numbered`: entries that got a position. `openHoles`: stretches of rows that had drawn their place but not committed.
 * `more`: the limit was reached, step again.
 */
export type LogStep =
  | { readonly busy: true }
  | {
      readonly busy: false;
      readonly numbered: number;
      readonly head: bigint;
      readonly openHoles: number;
      readonly more: boolean;
    };

interface StepRow {
  busy: boolean;
  numbered: number;
  head: bigint | null;
  open_holes: number | null;
  more: boolean;
}

/** `limit`: rows (transactions) at most. Never inside a transaction: its snapshot would hide what it has to number. */
export async function stepLog(runner: Runner, limit: number): Promise<LogStep> {
  const [row] = await runner.query<StepRow>(step, [limit]);
  if (row === undefined || row.busy) return { busy: true };
  return {
    busy: false,
    numbered: row.numbered,
    head: row.head ?? 0n,
    openHoles: row.open_holes ?? 0,
    more: row.more,
  };
}
