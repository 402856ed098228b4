/** Repeats a call that is safe to repeat while its refusals are passing ones. */
import { monotonicMs, pause } from '../runtime/clock.js';
import { Backoff } from './backoff.js';
import { asTailraceError } from './errors.js';

export interface RetryBounds {
  /** No further try begins later than this after the first one. Milliseconds. */
  readonly forMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** Throws the last refusal as a TailraceError. */
export async function retrying<T>(call: () => Promise<T>, { forMs, signal }: RetryBounds): Promise<T> {
  const endMs = monotonicMs() + forMs;
  const backoff = new Backoff(50, 2_000);
  for (;;) {
    try {
      return await call();
    } catch (thrown) {
      const error = asTailraceError(thrown);
      const pauseMs = backoff.next(error);
      if (signal?.aborted || !error.passing || monotonicMs() + pauseMs > endMs) throw error;
      await pause(pauseMs, signal);
    }
  }
}
