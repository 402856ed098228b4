/**
 * Turns: calls about the same flow go one after the other in this process. Nothing rests on it, for other processes change
 * the flow as well; it spares the calls of one process that each finds the graph changed by the one before.
 */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs when every call of this key that came before has ended, however it did. */
  async take<T>(key: string, call: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(call);
    this.#last.set(key, mine);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === mine) this.#last.delete(key);
    }
  }
}
