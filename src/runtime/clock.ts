/** The only place that reads the machine's clock or sets timers. Durations here never decide what the database decides. */

/** Milliseconds on a clock that never goes back; its zero means nothing. */
export function monotonicMs(): number {
  return performance.now();
}

/** Wall-clock milliseconds since 1970. */
export function wallMs(): number {
  return Date.now();
}

/** Timers hold no more; one set for longer would go off at once. */
const LONGEST_MS = 2 ** 31 - 1;

function bounded(ms: number): number {
  return Math.min(LONGEST_MS, Math.max(0, ms));
}

/** Resolves after `ms` (24 days at most), or at once when the signal aborts. Never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, bounded(ms));
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Calls `action` once after `ms` (24 days at most); the returned function calls it off. Does not keep the process alive. */
export function after(ms: number, action: () => void): () => void {
  const timer = setTimeout(action, bounded(ms));
  timer.unref();
  return () => clearTimeout(timer);
}
