/** The part of retention that forgets keys: request ids of what is gone, and ids of events whose time is over. */
import {
  KEY_SUBJECTS,
  type KeySweep,
  NOTHING_RETIRED,
  type RetentionPart,
  sweepKeys,
} from '../repository/retention/index.js';
import { monotonicMs } from '../runtime/clock.js';

const DAY_MS = 24 * 3_600_000;
/** Request ids are remembered so long, and for as long as their subject is there. */
const REQUESTS_MS = 30 * DAY_MS;
/** 2 MiB of a table at a time. */
const BLOCKS = 256;
const MOST_PAUSE_MS = 3_600_000;

export interface KeyRetentionOptions {
  /** Of ids of events that are not UUIDv7, where a namespace says nothing else. */
  readonly eventIdsMs: number;
  /** Default 30 days. */
  readonly requestsMs?: number;
  /** Between two walks through a table. Default: a hundredth of what is kept, an hour at most. */
  readonly pauseMs?: number;
}

export function keyRetention({ eventIdsMs, requestsMs = REQUESTS_MS, pauseMs }: KeyRetentionOptions): RetentionPart {
  const sweepOf = (keepMs: number): KeySweep => {
    return { keepMs, blocks: BLOCKS, pauseMs: pauseMs ?? Math.min(MOST_PAUSE_MS, Math.ceil(keepMs / 100)) };
  };
  const sweeps = { requests: sweepOf(requestsMs), flowRequests: sweepOf(requestsMs), eventIds: sweepOf(eventIdsMs) };
  const leastPauseMs = Math.min(...Object.values(sweeps).map((sweep) => sweep.pauseMs));
  // Others may have walked meanwhile, which a statement tells; before this not even that is asked.
  let nextMs = 0;
  return {
    name: 'keys',
    async run(runner, until, signal) {
      if (monotonicMs() < nextMs) return NOTHING_RETIRED;
      for (const subject of KEY_SUBJECTS) {
        for (let done = false; !done; ) {
          if (signal.aborted || monotonicMs() >= until) return { ...NOTHING_RETIRED, more: true };
          ({ done } = await sweepKeys(runner, subject, sweeps[subject]));
        }
      }
      nextMs = monotonicMs() + leastPauseMs;
      return NOTHING_RETIRED;
    },
    foresee: () => Promise.resolve(NOTHING_RETIRED),
  };
}
