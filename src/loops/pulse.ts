/**
 * One statement a second that answers every loop of this process: are classes and lanes as remembered, is something due,
 * is there work somebody waits for, has the log grown. It makes good every wake-up that was lost, and is all that an idle
 * process sends.
 */
import type { Segment } from '../repository/claims/index.js';
import type { Database } from '../repository/database.js';
import { type Pulse, readPulse } from '../repository/sweeping/index.js';
import { monotonicMs } from '../runtime/clock.js';
import { Loop } from '../runtime/loop.js';

const PERIOD_MS = 1_000;
/** Hints from other processes ask for a pulse of their own, but no closer than this. */
const GAP_MS = 10;

export interface PulseOptions {
  readonly database: Database;
  /** The lines somebody in this process waits for. */
  readonly waitedFor: () => readonly Segment[];
  /** With the lines it looked into, and the monotonic time from before it was sent. */
  readonly onPulse: (pulse: Pulse, lines: readonly Segment[], begunMs: number) => Promise<void>;
  readonly onError: (name: string, error: unknown) => void;
}

export function pulseLoop({ database, waitedFor, onPulse, onError }: PulseOptions): Loop {
  return new Loop({
    name: 'pulse',
    gapMs: GAP_MS,
    maxBackoffMs: 2_000,
    onError,
    body: async () => {
      const [lines, begunMs] = [waitedFor(), monotonicMs()];
      await onPulse(await readPulse(database, lines), lines, begunMs);
      return PERIOD_MS;
    },
  });
}
