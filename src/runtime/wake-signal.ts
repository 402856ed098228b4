/**
 * A wake-up that cannot be lost: waking somebody who is not waiting yet lets the next wait return at once.
 * One waiter.
 */
import { after } from './clock.js';

export class WakeSignal {
  #raised = false;
  #end: (() => void) | undefined;

  wake(): void {
    this.#raised = true;
    this.#end?.();
  }

  /** Forgets a wake-up: what it asks for is about to be done. */
  clear(): void {
    this.#raised = false;
  }

  /** Returns after `ms` (undefined: never by itself), when woken, or when the signal aborts. Tells whether it was woken. */
  async wait(ms: number | undefined, signal?: AbortSignal): Promise<boolean> {
    if (!this.#raised && !signal?.aborted) await this.#sleep(ms, signal);
    const woken = this.#raised;
    this.#raised = false;
    return woken;
  }

  #sleep(ms: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        cancel?.();
        signal?.removeEventListener('abort', end);
        this.#end = undefined;
        resolve();
      };
      const cancel = ms === undefined ? undefined : after(ms, end);
      signal?.addEventListener('abort', end, { once: true });
      this.#end = end;
    });
  }
}
