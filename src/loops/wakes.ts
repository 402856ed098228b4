/**
 * Wake-ups between processes: tells the others that something was committed, at most once in 10 ms, and hears them. What is
 * only output of running attempts has a channel of its own, so that it disturbs nobody but those who follow output.
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
  /** Another process has appended frames. */
  readonly onFrames: () => void;
  readonly onError: (name: string, error: unknown) => void;
}

export interface WakeLoops {
  readonly send: Loop;
  readonly sendFrames: Loop;
  readonly listen: Loop;
}

export function wakeLoops({ database, url, channel, onWake, onFrames, onError }: WakeLoopOptions): WakeLoops {
  const own = new Set<number>();
  const framesChannel = `${channel}_frames`;
  const sending = (name: string, to: string) => {
    let first = true;
    return new Loop({
      name,
      gapMs: GAP_MS,
      onError,
      body: async () => {
        // A loop begins with a run; there is nothing to tell yet.
        if (first) {
          first = false;
          return undefined;
        }
        if (own.size > REMEMBERED_BACKENDS) own.clear();
        own.add(await sendWake(database, to));
        return undefined;
      },
    });
  };
  const hear = (backend: number, from: string) => {
    if (own.has(backend)) return;
    if (from === framesChannel) onFrames();
    else onWake();
  };
  const listen = new Loop({
    name: 'wakes in',
    onError,
    maxBackoffMs: 10_000,
    body: async (signal) => {
      await listenForWakes(url, [channel, framesChannel], hear, signal);
      return undefined;
    },
  });
  return { send: sending('wakes out', channel), sendFrames: sending('frame wakes out', framesChannel), listen };
}
