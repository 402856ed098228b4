/**
 * Works on bulk redrives: takes a step of each that is due. Any process may; per redrive one at a time does, the others come
 * again in a second, in case it is gone. Without any it sends nothing: the pulse finds them.
 */
import { randomUUID } from 'node:crypto';
import type { Database } from '../repository/database.js';
import { dueRedrives, type RedriveStep, retireRedrives, stepRedrive } from '../repository/redrives/index.js';
import { internClasses } from '../repository/registry/index.js';
import { monotonicMs } from '../runtime/clock.js';
import { Loop } from '../runtime/loop.js';

export interface RedrivesOptions {
  readonly database: Database;
  /** Largest input that a patch may make. */
  readonly maxPayloadBytes: number;
  /** After the commit. `newClasses`: some of those woken may not be known to this process. */
  readonly onStep: (step: RedriveStep, newClasses: boolean) => Promise<void>;
  readonly onError: (name: string, error: unknown) => void;
  /** Days that they are kept after their end. 0: for ever. */
  readonly keptDays: number;
}

type ClassKeys = Parameters<typeof internClasses>[1];

const NAME = 'redrives';
/** Of one that has only to count what ends. */
const ENDING_MS = 5_000;
const BUSY_MS = 1_000;
const GAP_MS = 10;
const RETIRE_MS = 10 * 60_000;
const DAY_MS = 24 * 3_600_000;

export class Redrives {
  readonly #options: RedrivesOptions;
  readonly #work: Loop;
  readonly #retire: Loop;
  readonly #process = randomUUID();
  /** Interned by this process: they are kept for ever. */
  readonly #classes = new Map<string, { readonly id: number }>();
  #newClasses = false;
  /** Whether there were any when it looked last. */
  #any = false;

  constructor(options: RedrivesOptions) {
    this.#options = options;
    const { database, onError, keptDays } = options;
    this.#work = new Loop({ name: NAME, onError, gapMs: GAP_MS, jitter: 0, body: (signal) => this.#steps(signal) });
    this.#retire = new Loop({
      name: 'redrives of the past',
      onError,
      body: async () => {
        if (keptDays === 0) return undefined;
        return (await retireRedrives(database, keptDays * DAY_MS)) ? 0 : RETIRE_MS;
      },
    });
  }

  /** One was started. */
  wake(): void {
    this.#work.wake();
  }

  /** There is one. */
  found(): void {
    if (!this.#any) this.#work.wake();
  }

  start(): void {
    this.#work.start();
    this.#retire.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#work.stop(), this.#retire.stop()]);
  }

  async #steps(signal: AbortSignal): Promise<number | undefined> {
    const { database, onStep } = this.#options;
    const due = await dueRedrives(database);
    this.#any = due.length > 0;
    if (!this.#any) return undefined;
    let next = ENDING_MS;
    for (const redrive of due) {
      if (signal.aborted) break;
      const begun = monotonicMs();
      const step = await this.#step(redrive);
      await onStep(step, this.#newClasses);
      this.#newClasses = false;
      const again = step.verdict === 'ended' ? ENDING_MS : (step.waitMs ?? BUSY_MS);
      next = Math.min(next, Math.max(1, begun + again - monotonicMs()));
    }
    return next;
  }

  #step(redrive: string): Promise<RedriveStep> {
    const { database, maxPayloadBytes, onError } = this.#options;
    return stepRedrive(database, redrive, {
      process: this.#process,
      mostBytes: maxPayloadBytes,
      intern: (keys) => this.#intern(keys),
      onRefused: (letter, error) => onError(`${NAME}: letter ${letter}`, error),
    });
  }

  /** Each once: interning one raises the version that every process refreshes by. */
  async #intern(keys: ClassKeys): Promise<{ readonly id: number }[]> {
    const named = keys.map((key) => [JSON.stringify(key), key] as const);
    const missing = new Map(named.filter(([name]) => !this.#classes.has(name)));
    if (missing.size > 0) {
      const made = await internClasses(this.#options.database, [...missing.values()]);
      [...missing.keys()].forEach((name, i) => {
        const interned = made[i];
        if (interned) this.#classes.set(name, interned);
      });
      this.#newClasses = true;
    }
    return named.map(([name]) => {
      const known = this.#classes.get(name);
      if (known === undefined) throw new Error('intern_classes answered nothing');
      return known;
    });
  }
}
