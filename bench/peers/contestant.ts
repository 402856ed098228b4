/** What is measured side by side: something that takes work, runs it with handlers that do nothing, and tells the end. */
import type { Arena, Ground } from '../arena/arena.js';
import type { Scale } from '../scale.js';

/** Counts what its owner was told of, and lets somebody wait for a count. */
export class Tally {
  #count = 0;
  #target = Number.POSITIVE_INFINITY;
  #reached: () => void = () => undefined;
  #moved: () => void = () => undefined;

  get count(): number {
    return this.#count;
  }

  add(more: number): void {
    this.#count += more;
    this.#moved();
    if (this.#count >= this.#target) this.#reached();
  }

  /** Rejects when the count stands still for `patienceMs`. */
  async reach(target: number, patienceMs: number): Promise<void> {
    if (this.#count >= target) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      const stalled = () => reject(new Error(`only ${this.#count} of ${target} arrived, and nothing moves`));
      timer = setTimeout(stalled, patienceMs);
      this.#moved = () => timer?.refresh();
      this.#target = target;
      this.#reached = resolve;
    }).finally(() => clearTimeout(timer));
  }
}

export interface ServerProcess {
  readonly pid: number;
  readonly url: string;
}

/** A contestant at work on its database. */
export interface Running {
  /** In batches where its API has them. */
  createMany(count: number): Promise<void>;
  /** In a call of its own; the ordinal comes back with the start of its handler. */
  createOne(ordinal: number): Promise<void>;
  /** Its server processes, where it has such. */
  readonly servers?: readonly ServerProcess[];
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly ground: Ground;
  readonly arena: Arena;
  /** Where a server process writes its CPU profile when it ends. */
  readonly profileInto?: string;
  /** Its handler has been called. */
  readonly onStart: (ordinal: number) => void;
  /** Told each end, as the contestant's own users would see it. */
  readonly ended: Tally;
  /** Whether it works off what it is given. */
  readonly workers: boolean;
}

export interface Contestant {
  readonly name: string;
  /** How fast it gets through executions, for how many it is given. */
  readonly pace: keyof Scale['throughput'];
  start(options: StartOptions): Promise<Running>;
}

/**
 * Runs a body with a contestant on a database of its own, and leaves nothing behind. What is to be looked at once all its
 * sessions have ended is looked at before the database goes.
 */
export async function withContestant<T>(
  contestant: Contestant,
  options: Omit<StartOptions, 'ground'>,
  body: (running: Running, ground: Ground) => Promise<T>,
  onStopped: (ground: Ground) => Promise<void> = async () => undefined,
): Promise<T> {
  const ground = await options.arena.fresh();
  try {
    const running = await contestant.start({ ...options, ground });
    const result = await body(running, ground).finally(() => running.stop());
    await onStopped(ground);
    return result;
  } finally {
    await ground.drop();
  }
}
