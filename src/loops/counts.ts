/**
 * Follows the log and keeps the counts of executions per state. Any process folds; one at a time does, the others pass.
 *
 * `follow(head)` after a step of the sequencer or a pulse: with nothing new it sends nothing. Counts lag by about the gap;
 * every answer that shows them says up to which position they are true.
 */
import type { Runner } from '../repository/database.js';
import { foldCounts } from '../repository/inspection/index.js';
import { Loop } from '../runtime/loop.js';

export interface CountsOptions {
  readonly runner: Runner;
  readonly onError: (name: string, error: unknown) => void;
  /** Least time between two folds: longer makes fewer, larger ones. Default 500 ms. */
  readonly gapMs?: number;
  /** Entries per fold, about. Default 10,000. */
  readonly entries?: number;
}

const BUSY_MS = 1_000;

export class Counts {
  readonly #loop: Loop;
  #upto = -1n;

  constructor({ runner, onError, gapMs = 500, entries = 10_000 }: CountsOptions) {
    this.#loop = new Loop({
      name: 'counts',
      onError,
      gapMs,
      body: async () => {
        const { busy, folded, upto } = await foldCounts(runner, entries);
        if (busy) return BUSY_MS;
        this.#upto = upto;
        return folded >= entries ? 0 : undefined;
      },
    });
  }

  /** The log reaches to this position. */
  follow(head: bigint): void {
    if (head > this.#upto) this.#loop.wake();
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }
}
