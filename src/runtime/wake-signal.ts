/**
 * A wake-up that cannot be lost: waking somebody who is not waiting yet lets the next wait return at once.
 * One waiter.
 */
import { pause } from './clock.js';

export class WakeSignal {
  #raised = false;
  #wait: AbortController | undefined;

  wake(): void {
    this.#raised = true;
    this.#wait?.abort();
  }

  /** Forgets a wake-up: what it asks for is about to be done. */
  clear(): void {
    this.#raised = false;
  }

  /** Returns after `ms` (undefined: never by itself), when woken, or when the signal aborts. Tells whether it was woken. */
  async wait(ms: number | undefined, signal?: AbortSignal): Promise<boolean> {
    if (!this.#raised && !signal?.aborted) {
      const wait = new AbortController();
      this.#wait = wait;
      const stop = () => wait.abort();
      signal?.addEventListener('abort', stop, { once: true });
      if (ms === undefined) {
        await new Promise<void>((resolve) => wait.signal.addEventListener('abort', () => resolve(), { once: true }));
      } else {
        await pause(ms, wait.signal);
      }
      signal?.removeEventListener('abort', stop);
      this.#wait = undefined;
    }
    const woken = this.#raised;
    this.#raised = false;
    return woken;
  }
}
