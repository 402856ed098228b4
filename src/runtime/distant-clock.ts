/** Another machine's wall clock, estimated from when it was last seen. For showing times, never for deciding by them. */
import { monotonicMs, wallMs } from './clock.js';

export class DistantClock {
  #aheadMs = wallMs() - monotonicMs();

  observe(time: Date): void {
    this.#aheadMs = time.getTime() - monotonicMs();
  }

  now(): Date {
    return new Date(monotonicMs() + this.#aheadMs);
  }
}
