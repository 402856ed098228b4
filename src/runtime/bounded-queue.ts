/**
 * A queue with a bound on items and on bytes. A full queue refuses; what that means is the owner's business.
 * One consumer.
 */
import { WakeSignal } from './wake-signal.js';

export interface QueueBounds {
  readonly items: number;
  readonly bytes: number;
}

export class BoundedQueue<T> {
  readonly #bounds: QueueBounds;
  readonly #signal = new WakeSignal();
  #items: { readonly item: T; readonly bytes: number }[] = [];
  #bytes = 0;

  constructor(bounds: QueueBounds) {
    this.#bounds = bounds;
  }

  get size(): number {
    return this.#items.length;
  }

  /** False when it would not fit; then nothing was added. An item over the byte bound fits into an empty queue. */
  push(item: T, bytes: number): boolean {
    const over = this.#items.length >= this.#bounds.items || this.#bytes + bytes > this.#bounds.bytes;
    if (over && this.#items.length > 0) return false;
    this.#items.push({ item, bytes });
    this.#bytes += bytes;
    this.#signal.wake();
    return true;
  }

  /** The oldest, within the bounds given; at least one unless it is empty. */
  take(bounds: QueueBounds): T[] {
    let count = 0;
    let bytes = 0;
    for (const item of this.#items) {
      if (count > 0 && (count >= bounds.items || bytes + item.bytes > bounds.bytes)) break;
      count++;
      bytes += item.bytes;
    }
    this.#bytes -= bytes;
    const taken = this.#items.splice(0, count).map(({ item }) => item);
    if (this.#items.length === 0) this.#signal.clear();
    return taken;
  }

  clear(): void {
    this.#items = [];
    this.#bytes = 0;
  }

  /** Ends a wait, as a push does. */
  wake(): void {
    this.#signal.wake();
  }

  /** Returns when there is something, after `ms`, when woken, or when the signal aborts. */
  async wait(ms: number, signal?: AbortSignal): Promise<void> {
    if (this.#items.length === 0) await this.#signal.wait(ms, signal);
  }
}
