/**
 * A supervised background loop: runs its body again and again, one at a time, until it is stopped.
 *
 * The body says when it wants to run again; `wake()` makes that now. An error never ends a loop: it is reported and the
 * body runs again after a growing, jittered pause. Bodies must be idempotent and give up soon after their signal aborts.
 */
import { monotonicMs, pause } from './clock.js';
import { WakeSignal } from './wake-signal.js';

export interface LoopOptions {
  readonly name: string;
  /** Milliseconds until the next run; undefined: not before somebody wakes the loop. 0: there is more to do. */
  readonly body: (signal: AbortSignal) => Promise<number | undefined>;
  /** Gets every error of the body; the loop goes on. */
  readonly onError: (name: string, error: unknown) => void;
  /** Least time between the starts of two runs, so that many wake-ups become one run. Default 0 ms. */
  readonly gapMs?: number;
  /** Share of a pause that is random, 0–1, so that equal processes do not act in step. Default 0.1. */
  readonly jitter?: number;
  /** Pause after the first error; doubles with each further one up to `maxBackoffMs`. Default 100 ms. */
  readonly backoffMs?: number;
  /** Default 5,000 ms. */
  readonly maxBackoffMs?: number;
}

export class Loop {
  readonly #options: LoopOptions;
  readonly #signal = new WakeSignal();
  #abort = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: LoopOptions) {
    this.#options = options;
  }

  /** Starting a loop that runs changes nothing. The first run begins at once. */
  start(): void {
    if (this.#running) return;
    this.#abort = new AbortController();
    this.#running = this.#run(this.#abort.signal);
  }

  /** Ends the present pause; during a run, one more run follows it. A pause after an error is not cut short. */
  wake(): void {
    this.#signal.wake();
  }

  /** Answers whether the body had ended within the bound. One that had not is abandoned, its signal aborted. */
  async stop(boundMs = 5_000): Promise<boolean> {
    const running = this.#running;
    if (!running) return true;
    this.#running = undefined;
    this.#abort.abort();
    const bound = new AbortController();
    const ended = await Promise.race([running.then(() => true), pause(boundMs, bound.signal).then(() => false)]);
    bound.abort();
    return ended;
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { name, body, onError, gapMs = 0, jitter = 0.1, backoffMs = 100, maxBackoffMs = 5_000 } = this.#options;
    let failures = 0;
    while (!signal.aborted) {
      const started = monotonicMs();
      this.#signal.clear();
      try {
        const next = await body(signal);
        failures = 0;
        if (next !== 0) await this.#signal.wait(next === undefined ? undefined : spread(next, jitter), signal);
        const left = started + gapMs - monotonicMs();
        if (left > 0) await pause(left, signal);
      } catch (error) {
        if (signal.aborted) return;
        onError(name, error);
        await pause(spread(Math.min(maxBackoffMs, backoffMs * 2 ** failures++), 0.5), signal);
      }
    }
  }
}

/** `ms`, of which the given share is random. Never longer than `ms`. */
function spread(ms: number, jitter: number): number {
  return ms * (1 - jitter * Math.random());
}
