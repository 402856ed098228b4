/**
 * One read at a time for all who ask meanwhile. An answer was read after it was asked for, so it is never out of date; and
 * however many ask, reads begin one after the other, with a rest between them where one is wanted.
 */
import { monotonicMs, pause } from '../../runtime/clock.js';

export class JointRead<K, V> {
  readonly #read: (keys: readonly K[]) => Promise<ReadonlyMap<K, V>>;
  readonly #restMs: number;
  readonly #asked = new Set<K>();
  #next: Promise<ReadonlyMap<K, V>> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #begunMs = Number.NEGATIVE_INFINITY;

  /** `restMs`: from the beginning of one read to that of the next, at least. */
  constructor(read: (keys: readonly K[]) => Promise<ReadonlyMap<K, V>>, restMs = 0) {
    this.#read = read;
    this.#restMs = restMs;
  }

  /** Rejects when the read does. */
  async get(key: K): Promise<V | undefined> {
    this.#asked.add(key);
    this.#next ??= this.#begin();
    return (await this.#next).get(key);
  }

  async #begin(): Promise<ReadonlyMap<K, V>> {
    await this.#last;
    const rest = this.#begunMs + this.#restMs - monotonicMs();
    if (rest > 0) await pause(rest);
    const keys = [...this.#asked];
    this.#asked.clear();
    this.#next = undefined;
    this.#begunMs = monotonicMs();
    const reading = this.#read(keys);
    this.#last = reading.catch(() => undefined);
    return await reading;
  }
}
