/**
 * Wake-ups between processes: tells the others that something was committed, at most once in 10 ms, and hears them.
 * Hints only. A process that cannot listen, behind a pooler for one, works by its pulse.
 */
import type { Database } from '../repository/database.js';
import { listenForWakes, sendWake } from '../repository/log/index.js';
import { Loop } from '../runtime/loop.js';

const GAP_MS = 10;
/** Own notifications come back; those of the pool's connections are known by their backends. */
const REMEMBERED_BACKENDS = 1_000;

export interface WakeLoopOptions {
  readonly database: Database;
  readonly url: string;
  readonly channel: string;
  /** Another process has committed something. */
  readonly onWake: () => void;
  readonly onError: (name: string, error: unknown) => void;
}

export function wakeLoops({ database, url, channel, onWake, onError }: WakeLoopOptions): { send: Loop; listen: Loop } {
  const own = new Set<number>();
  let first = true;
  const send = new Loop({
    name: 'wakes out',
    gapMs: GAP_MS,
    onError,
    body: async () => {
      // A loop begins with a run; there is nothing to tell yet.
      if (first) {
        first = false;
        return undefined;
      }
      own.add(await sendWake(database, channel));
      if (own.size > REMEMBERED_BACKENDS) own.clear();
      return undefined;
    },
  });
  const listen = new Loop({
    name: 'wakes in',
    onError,
    maxBackoffMs: 10_000,
    body: async (signal) => {
      await listenForWakes(url, channel, (backend) => !own.has(backend) && onWake(), signal);
      return undefined;
    },
  });
  return { send, listen };
}
