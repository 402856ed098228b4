/** Growing, jittered pauses between repeats of a call. Half of each pause is random, so that many callers spread out. */
import { randomInt } from 'node:crypto';
import type { TailraceError } from './errors.js';

export class Backoff {
  readonly #firstMs: number;
  readonly #mostMs: number;
  #failures = 0;

  constructor(firstMs: number, mostMs: number) {
    this.#firstMs = firstMs;
    this.#mostMs = mostMs;
  }

  /** Milliseconds to wait after one more failure; never less than the engine asked for. */
  next(error?: TailraceError): number {
    const ceiling = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(this.#failures++, 30));
    const drawn = ceiling * (0.5 + randomInt(1_000) / 2_000);
    return Math.max(drawn, error?.retryDelayMs ?? 0);
  }

  /** After a success. */
  reset(): void {
    this.#failures = 0;
  }
}
