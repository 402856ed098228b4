/** Loops and streams that go on until they are all cut off together. */

export class Loops {
  /** Aborted by end(). */
  readonly signal: AbortSignal;
  readonly #ended = new AbortController();
  readonly #loops: Promise<void>[] = [];
  readonly #failed: Promise<never>;
  #fail: (error: unknown) => void = () => undefined;

  constructor() {
    this.signal = this.#ended.signal;
    this.#failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.#failed.catch(() => undefined);
  }

  /** What end() cuts off has not failed. */
  follow(loop: Promise<void>): void {
    const followed = loop.catch((error: unknown) => {
      if (this.signal.aborted) return;
      this.#fail(error);
      throw error;
    });
    // end() tells it.
    followed.catch(() => undefined);
    this.#loops.push(followed);
  }

  /** Reads a stream to its end. Resolves with its first message, which says that it is in place. */
  async read<T>(stream: AsyncIterable<T>, onMessage: (message: T) => void): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const read = async () => {
        for await (const message of stream) {
          resolve();
          onMessage(message);
        }
      };
      this.follow(
        read().catch((error: unknown) => {
          reject(error);
          throw error;
        }),
      );
    });
  }

  /** What is waited for would never come if a loop has failed. */
  async unlessFailed<T>(work: Promise<T>): Promise<T> {
    return await Promise.race([work, this.#failed]);
  }

  /** Ends everything, and throws what a loop failed with before. */
  async end(): Promise<void> {
    this.#ended.abort();
    const results = await Promise.allSettled(this.#loops);
    const failed = results.find((result) => result.status === 'rejected');
    if (failed) throw failed.reason;
  }
}
