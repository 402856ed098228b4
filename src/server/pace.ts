/**
 * Ends transfers that trickle: so long for anything, then at least so many bytes a second. One timer looks at all that
 * are under way, about once in a tenth of the grace, so a transfer costs no timer of its own.
 */
import { after, monotonicMs } from '../runtime/clock.js';

export interface PaceOptions {
  readonly graceMs: number;
  readonly leastBytesPerSecond: number;
}

export interface Transfer {
  /** So many bytes more have come or gone. */
  moved(bytes: number): void;
  /** It is over; it may be said again. */
  end(): void;
}

interface Entry {
  untilMs: number;
  readonly tooSlow: () => void;
}

const LOOKS = 10;
const MOST_MS = 5_000;

export class Pace {
  readonly #options: PaceOptions;
  readonly #entries = new Set<Entry>();
  #looking = false;

  constructor(options: PaceOptions) {
    this.#options = options;
  }

  /** `tooSlow` is called once, unless the transfer has ended. `bytes`: what is to be moved, where that is known. */
  begin(tooSlow: () => void, bytes = 0): Transfer {
    const entry = { untilMs: monotonicMs() + this.#options.graceMs + this.#timeFor(bytes), tooSlow };
    this.#entries.add(entry);
    this.#look();
    return {
      moved: (more) => {
        entry.untilMs += this.#timeFor(more);
      },
      end: () => void this.#entries.delete(entry),
    };
  }

  #timeFor(bytes: number): number {
    return (bytes / this.#options.leastBytesPerSecond) * 1_000;
  }

  #look(): void {
    if (this.#looking || this.#entries.size === 0) return;
    this.#looking = true;
    after(Math.min(MOST_MS, this.#options.graceMs / LOOKS), () => {
      this.#looking = false;
      const nowMs = monotonicMs();
      for (const entry of this.#entries) {
        if (entry.untilMs > nowMs) continue;
        this.#entries.delete(entry);
        entry.tooSlow();
      }
      this.#look();
    });
  }
}
