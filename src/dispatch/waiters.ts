/**
 * Claims that wait for work. A wake-up names a class and how many executions became claimable in it, and reaches as many
 * waiters, longest waiting first, as can take them: fifty idle workers do not all ask for one execution.
 *
 * Wake-ups are hints. One that is lost, or went to a waiter that left, is made good by the pulse.
 */
import type { WakeSignal } from '../runtime/wake-signal.js';

export interface Waiter {
  /** How many it can take. */
  readonly limit: number;
  /** Whether it can run executions of this class. */
  accepts(classId: number): boolean;
  readonly signal: WakeSignal;
}

export class Waiters {
  /** In order of arrival. */
  readonly #waiting = new Set<Waiter>();

  get size(): number {
    return this.#waiting.size;
  }

  add(waiter: Waiter): void {
    this.#waiting.add(waiter);
  }

  remove(waiter: Waiter): void {
    this.#waiting.delete(waiter);
  }

  /** A waiter that was woken goes to the back of the line. */
  wake(classId: number, count: number): void {
    let left = count;
    for (const waiter of [...this.#waiting]) {
      if (left <= 0) return;
      if (!waiter.accepts(classId)) continue;
      left -= waiter.limit;
      this.#waiting.delete(waiter);
      this.#waiting.add(waiter);
      waiter.signal.wake();
    }
  }

  wakeAll(): void {
    for (const waiter of this.#waiting) waiter.signal.wake();
  }

  /** The classes that somebody waits for, out of these. */
  waitedFor(classIds: Iterable<number>): number[] {
    const waiting = [...this.#waiting];
    return [...classIds].filter((id) => waiting.some((waiter) => waiter.accepts(id)));
  }
}
