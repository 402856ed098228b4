/** Loops and streams that go on until they are all cut off together. */

export class Loops {
  /** Aborted by end(). */
  readonly signal: AbortSignal;
  readonly #ended = new AbortController();
  readonly #loops: Promise<void>[] = [];

  constructor() {
    this.signal = this.#ended.signal;
  }

  /** What end() cuts off has not failed. */
  follow(loop: Promise<void>): void {
    const followed = loop.catch((error: unknown) => {
      if (!this.signal.aborted) throw error;
    });
    // end() tells it.
    followed.catch(() => undefined);
    this.#loops.push(followed);
  }

  /** Ends everything, and throws what a loop failed with before. */
  async end(): Promise<void> {
    this.#ended.abort();
    const results = await Promise.allSettled(this.#loops);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }
}
