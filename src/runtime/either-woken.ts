/** Waiting for one of two wake-ups that mean different things. */
import type { WakeSignal } from './wake-signal.js';

/** Returns after `ms`, when one is woken, or when the signal aborts, and tells whether the first was. */
export async function firstWoken(
  first: WakeSignal,
  second: WakeSignal,
  ms: number,
  signal: AbortSignal,
): Promise<boolean> {
  const over = new AbortController();
  const abort = () => over.abort();
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  try {
    const waits = [first.wait(ms, over.signal), second.wait(ms, over.signal)] as const;
    await Promise.race(waits);
    over.abort();
    return await waits[0];
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
