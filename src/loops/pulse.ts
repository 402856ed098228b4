/**
 * One statement a second that answers every loop of this process: are classes and lanes as remembered, is something due,
 * is there work somebody waits for, has the log grown. It makes good every wake-up that was lost, and is all that an idle
 * process sends.
 */
import { EVERYTHING_EVERY } from '../domain/due-floor.js';
import { TimeShare } from '../domain/time-share.js';
import type { Segment } from '../repository/claims/index.js';
import type { Database } from '../repository/database.js';
import { type Pulse, readPulse } from '../repository/sweeping/index.js';
import { monotonicMs } from '../runtime/clock.js';
import { Loop } from '../runtime/loop.js';
import type { DueLook } from './sweeper.js';

const PERIOD_MS = 1_000;
/** Hints from other processes ask for a pulse of their own, but no closer than this. */
const GAP_MS = 10;

export interface PulseOptions {
  readonly database: Database;
  /** The lines somebody in this process waits for. */
  readonly waitedFor: () => readonly Segment[];
  /** Begins a look at what is due, of everything or from where on the sweeps know of something. */
  readonly look: (nowMs: number, everything: boolean) => DueLook;
  /** With the lines it looked into, and the monotonic time from before it was sent. */
  readonly onPulse: (pulse: Pulse, lines: readonly Segment[], begunMs: number) => Promise<void>;
  readonly onError: (name: string, error: unknown) => void;
}

export function pulseLoop({ database, waitedFor, look, onPulse, onError }: PulseOptions): Loop {
  const everything = new TimeShare(EVERYTHING_EVERY);
  return new Loop({
    name: 'pulse',
    gapMs: GAP_MS,
    maxBackoffMs: 2_000,
    onError,
    body: async () => {
      const [lines, begunMs] = [waitedFor(), monotonicMs()];
      const all = everything.isDue(begunMs);
      const due = look(begunMs, all);
      let pulse: Pulse;
      try {
        pulse = await readPulse(database, lines, all ? undefined : due.behind);
        due.left(pulse.dueMs);
      } finally {
        const nowMs = monotonicMs();
        due.ended(nowMs);
        if (all) everything.took(nowMs, nowMs - begunMs);
      }
      await onPulse(pulse, lines, begunMs);
      return PERIOD_MS;
    },
  });
}
