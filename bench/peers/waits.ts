/** What parks executions, tells them to go on, and works on: one that is held through its whole wait, many at once. */
import type { Ground } from '../arena/arena.js';

export interface WaitTimes {
  /** From the sending of the signal until the handler goes on. */
  readonly resumeMs: number;
  /** From the sending of the suspension until the answer to the completion. */
  readonly cycleMs: number;
}

export interface Waits {
  /** Makes and starts so many executions, for as many cycles. */
  prepare(count: number): Promise<void>;
  /** Parks the next of them, signals it as soon as that is answered, and completes it as soon as it goes on. */
  cycle(): Promise<WaitTimes>;
  /** Of its server process, where it has one. */
  readonly serverPid?: number;
  stop(): Promise<void>;
}

export interface WaitsOptions {
  readonly ground: Ground;
  /** Where a server process writes its CPU profile when it ends. */
  readonly profileInto?: string | undefined;
}

export interface WaitContestant {
  readonly name: string;
  start(options: WaitsOptions): Promise<Waits>;
}

/** Who waits for what by name; what comes for nobody is a fault of the engine. */
export class Expected<T> {
  readonly #waiting = new Map<string, (value: T) => void>();

  arrival(name: string): Promise<T> {
    return new Promise((resolve) => this.#waiting.set(name, resolve));
  }

  arrived(name: string, value: T): void {
    const resolve = this.#waiting.get(name);
    if (resolve === undefined) throw new Error(`${name} came and was not waited for`);
    this.#waiting.delete(name);
    resolve(value);
  }
}
