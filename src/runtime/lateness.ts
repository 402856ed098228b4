/**
 * How late this process's timers go off, and what that says of it.
 *
 * One tick serves whoever asks. Each wakes a process, which costs more than the tick itself when it has nothing else to do: so
 * it is ten times a second while the process is busy, and twice otherwise. A single long turn (a collection of garbage, a
 * start) is no overload: late means that several ticks in a row were, and one that comes in time ends it.
 */
import { createHistogram } from 'node:perf_hooks';
import { after, monotonicMs } from './clock.js';
import { ProcessLoad } from './process-load.js';

const TICK_MS = 100;
const IDLE_TICK_MS = 500;
/** Share of the time since the last tick in which something ran. */
const BUSY = 0.3;
const TICKS = 3;
/** Histograms count whole numbers from 1 on: microseconds. */
const PER_SECOND = 1e6;
const PER_MS = 1e3;

/** In seconds. */
export interface LoopDelay {
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly stddev: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

export class Lateness {
  readonly #last: number[] = [];
  readonly #seen = createHistogram();
  readonly #load = new ProcessLoad();
  #cancel: () => void = () => undefined;

  start(): void {
    this.#tick(monotonicMs() + TICK_MS);
  }

  stop(): void {
    this.#cancel();
  }

  /** Milliseconds by which each of the last ticks was late at least. */
  get ms(): number {
    return this.#last.length < TICKS ? 0 : Math.min(...this.#last);
  }

  /** By how much ticks were late since this was asked last; zeros when there was none. */
  delay(): LoopDelay {
    const seen = this.#seen;
    const seconds = (value: number) => (seen.count > 0 ? value / PER_SECOND : 0);
    const told = {
      min: seconds(seen.min),
      max: seconds(seen.max),
      mean: seconds(seen.mean),
      stddev: seconds(seen.stddev),
      p50: seconds(seen.percentile(50)),
      p90: seconds(seen.percentile(90)),
      p99: seconds(seen.percentile(99)),
    };
    seen.reset();
    return told;
  }

  #tick(dueMs: number): void {
    this.#cancel = after(dueMs - monotonicMs(), () => {
      const nowMs = monotonicMs();
      const lateMs = Math.max(0, nowMs - dueMs);
      this.#seen.record(Math.max(1, Math.round(lateMs * PER_MS)));
      this.#last.push(lateMs);
      if (this.#last.length > TICKS) this.#last.shift();
      this.#tick(nowMs + (this.#load.utilization().share < BUSY ? IDLE_TICK_MS : TICK_MS));
    });
  }
}
