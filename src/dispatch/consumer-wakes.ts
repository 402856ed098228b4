/**
 * Who waits at a consumer in this process: fetches and acquires for something to change, awaits for a cursor to move.
 *
 * Calls of this process wake at once; what other processes did comes with the pulse, as a version that is not the one
 * seen last. Wake-ups are hints: a waiter looks again and decides by what it reads, and clears its signal before it does.
 */
import { WakeSignal } from '../runtime/wake-signal.js';

/** changes: parts, owners, state, what is to be delivered again. moves: cursors. */
export type ConsumerTopic = 'changes' | 'moves';

export interface ConsumerWaiter {
  readonly signal: WakeSignal;
  /** To be called once the wait is over, whatever came of it. */
  leave(): void;
}

export class ConsumerWakes {
  readonly #waiting = new Map<string, Set<WakeSignal>>();
  #version: bigint | undefined;

  /** To be joined before the look whose answer the wait depends on, so that nothing falls between them. */
  join(topic: ConsumerTopic, namespace: number, consumer: string): ConsumerWaiter {
    const key = keyOf(topic, namespace, consumer);
    const signal = new WakeSignal();
    const waiting = this.#waiting.get(key) ?? new Set();
    this.#waiting.set(key, waiting.add(signal));
    return {
      signal,
      leave: () => {
        waiting.delete(signal);
        if (waiting.size === 0 && this.#waiting.get(key) === waiting) this.#waiting.delete(key);
      },
    };
  }

  /** Of this consumer, something that fetches and acquires have to look at again; awaits too. */
  changed(namespace: number, consumer: string): void {
    this.#wake(keyOf('changes', namespace, consumer));
    this.moved(namespace, consumer);
  }

  /** A cursor of this consumer has moved. */
  moved(namespace: number, consumer: string): void {
    this.#wake(keyOf('moves', namespace, consumer));
  }

  /** Any consumer may have changed: a letter was closed whose consumer is not known here. */
  changedAny(): void {
    for (const key of this.#waiting.keys()) this.#wake(key);
  }

  /** The version of consumer_registry, as the pulse saw it. */
  saw(version: bigint): void {
    if (this.#version !== version) this.changedAny();
    this.#version = version;
  }

  /** How many wait, for tests and figures. */
  get waiting(): number {
    return [...this.#waiting.values()].reduce((sum, signals) => sum + signals.size, 0);
  }

  #wake(key: string): void {
    for (const signal of this.#waiting.get(key) ?? []) signal.wake();
  }
}

function keyOf(topic: ConsumerTopic, namespace: number, consumer: string): string {
  return `${topic}/${namespace}/${consumer}`;
}
