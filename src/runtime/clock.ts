/** The only place that reads the machine's clock or sets timers. Durations here never decide what the database decides. */

/** Milliseconds on a clock that never goes back; its zero means nothing. */
export function monotonicMs(): number {
  return performance.now();
}

/** Wall-clock milliseconds since 1970. */
export function wallMs(): number {
  return Date.now();
}

/** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, Math.max(0, ms));
    signal?.addEventListener('abort', done, { once: true });
  });
}

/** Calls `action` once after `ms`; the returned function calls it off. Does not keep the process alive. */
export function after(ms: number, action: () => void): () => void {
  const timer = setTimeout(action, Math.max(0, ms));
  timer.unref();
  return () => clearTimeout(timer);
}
