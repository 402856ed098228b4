/**
 * Calls per second of each caller: a bucket that holds two seconds' worth and fills at the rate.
 *
 * What finishes work is let pass on credit, up to another bucketful: a caller that brings too much must still be able to
 * end it. Buckets that are full again are forgotten.
 */
import { monotonicMs } from '../runtime/clock.js';
import { overloaded } from './overload.js';

const BURST_SECONDS = 2;
const REMEMBERED = 10_000;

interface Bucket {
  left: number;
  atMs: number;
}

export class CallRates {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#burst = Math.max(1, BURST_SECONDS * perSecond);
  }

  /** Throws OVERLOADED with the time until the next call is let pass. */
  spend(caller: string, onCredit: boolean): void {
    if (this.#perSecond === 0) return;
    const bucket = this.#filled(caller);
    const least = onCredit ? 1 - this.#burst : 1;
    if (bucket.left < least) {
      const waitMs = Math.ceil(((least - bucket.left) / this.#perSecond) * 1_000);
      throw overloaded('token_rate', `at most ${this.#perSecond} calls a second are let pass of one caller`, waitMs);
    }
    bucket.left -= 1;
  }

  #filled(caller: string): Bucket {
    const nowMs = monotonicMs();
    let bucket = this.#buckets.get(caller);
    if (bucket === undefined) {
      if (this.#buckets.size >= REMEMBERED) this.#forget(nowMs);
      bucket = { left: this.#burst, atMs: nowMs };
      this.#buckets.set(caller, bucket);
    }
    bucket.left = this.#leftAt(bucket, nowMs);
    bucket.atMs = nowMs;
    return bucket;
  }

  #leftAt({ left, atMs }: Bucket, nowMs: number): number {
    return Math.min(this.#burst, left + ((nowMs - atMs) / 1_000) * this.#perSecond);
  }

  /** Those that are full; when none is, the oldest, whose callers gain a burst by it. */
  #forget(nowMs: number): void {
    for (const [caller, bucket] of this.#buckets) {
      if (this.#leftAt(bucket, nowMs) >= this.#burst) this.#buckets.delete(caller);
    }
    for (const caller of this.#buckets.keys()) {
      if (this.#buckets.size < REMEMBERED) return;
      this.#buckets.delete(caller);
    }
  }
}
