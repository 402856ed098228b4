/** What is dear at times, done for a share of the time at most. The first time is due at once. */
export class TimeShare {
  readonly #every: number;
  #nextMs = Number.NEGATIVE_INFINITY;

  /** `every`: how many times as long as it took it waits; 50 is 2 % of the time. */
  constructor(every: number) {
    this.#every = every;
  }

  isDue(nowMs: number): boolean {
    return nowMs >= this.#nextMs;
  }

  took(nowMs: number, ms: number): void {
    this.#nextMs = nowMs + ms * this.#every;
  }
}
