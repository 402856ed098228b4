/**
 * Who waits at the tail for something to come by, under the ids it waits for. The tail is joined with the first and left
 * with the last, and its failure is everybody's.
 */
import { EngineError } from '../domain/errors.js';
import type { WakeSignal } from '../runtime/wake-signal.js';
import { prunedPosition } from './floors.js';
import type { LogSource } from './source.js';
import type { Tail, TailListener } from './tail.js';

export interface TailWaiter {
  readonly signal: WakeSignal;
  failure?: unknown;
}

export class TailWaiters<Waiter extends TailWaiter> {
  readonly #source: LogSource;
  readonly #tail: Tail;
  readonly #listener: TailListener;
  readonly #waiters = new Map<string, Set<Waiter>>();
  #standing = false;

  constructor(source: LogSource, tail: Tail, listener: TailListener) {
    this.#source = source;
    this.#tail = tail;
    this.#listener = listener;
  }

  of(id: string | null): Iterable<Waiter> {
    return this.#waiters.get(id ?? '') ?? [];
  }

  has(id: string | null): boolean {
    return this.#waiters.has(id ?? '');
  }

  /** From a position no higher than the log's head, so that whoever reads afterwards misses nothing. */
  async stand(ids: readonly string[], waiter: Waiter): Promise<void> {
    const seen = this.#tail.position ?? (await this.#source.head()).head;
    for (const id of ids) {
      const others = this.#waiters.get(id);
      if (others) others.add(waiter);
      else this.#waiters.set(id, new Set([waiter]));
    }
    if (this.#standing) return;
    this.#standing = true;
    this.#tail.join(this.#listener, this.#tail.position ?? seen);
  }

  leave(ids: readonly string[], waiter: Waiter): void {
    for (const id of ids) {
      const waiters = this.#waiters.get(id);
      waiters?.delete(waiter);
      if (waiters?.size === 0) this.#waiters.delete(id);
    }
    if (this.#waiters.size > 0 || !this.#standing) return;
    this.#standing = false;
    this.#tail.leave(this.#listener);
  }

  /** What they wait for may have gone by with what retention took: whoever asks again is told how it stands. */
  fail(failure: unknown): void {
    const error =
      prunedPosition(failure) === undefined
        ? failure
        : new EngineError('DATABASE_UNAVAILABLE', 'ask again', {
            retryDelayMs: 0,
            cause: failure,
          });
    this.#standing = false;
    for (const waiter of new Set([...this.#waiters.values()].flatMap((waiters) => [...waiters]))) {
      waiter.failure = error;
      waiter.signal.wake();
    }
  }
}
