/**
 * What is dear at times, done for a share of the time at most. The first time is due at once. That it took long once does not
 * count, for then the process stood still; twice in a row does.
 */
export class TimeShare {
  readonly #every: number;
  #lastMs = Number.POSITIVE_INFINITY;
  #nextMs = Number.NEGATIVE_INFINITY;

  /** `every`: how many times as long as it took it waits; 50 is 2 % of the time. */
  constructor(every: number) {
    this.#every = every;
  }

  isDue(nowMs: number): boolean {
    return nowMs >= this.#nextMs;
  }

  took(nowMs: number, ms: number): void {
    this.#nextMs = nowMs + Math.min(ms, this.#lastMs) * this.#every;
    this.#lastMs = ms;
  }
}
