/**
 * Gives committed log rows their positions, soon after the commits that made them.
 *
 * Any process steps, none is special. `nudge()` after an own commit; commits that come close together share a step, and
 * one step is under way per process. A busy lock is tried again after a millisecond or two, until a step that began after
 * the nudge has run: the one that held the lock may have read before our commit. A nudge that dies with its process is
 * made up for by any process's pulse.
 */
import type { Runner } from '../repository/database.js';
import { type LogStep, stepLog } from '../repository/log/index.js';
import { Loop } from '../runtime/loop.js';

export interface SequencerOptions {
  readonly runner: Runner;
  /** Called after a step that gave positions, with the highest one given. */
  readonly onHead: (head: bigint) => void;
  readonly onError: (name: string, error: unknown) => void;
  /** Called after every step, for metrics: many open holes mean a long writer beside many that roll back. */
  readonly onStep?: (step: LogStep) => void;
  /** Least time between two steps. Shorter: lower latency, more statements. Default 3 ms. */
  readonly gapMs?: number;
  /** Rows per step, so that a reader that starts inside a step's run sums over no more. Default 512. */
  readonly rows?: number;
}

const BUSY_MS = 2;

export class Sequencer {
  readonly #options: SequencerOptions;
  readonly #loop: Loop;

  constructor(options: SequencerOptions) {
    this.#options = options;
    this.#loop = new Loop({
      name: 'sequencer',
      body: async () => await this.#step(),
      onError: options.onError,
      gapMs: options.gapMs ?? 3,
      jitter: 0.5,
    });
  }

  /** Something was committed to the log, here or elsewhere, and may lack its position. */
  nudge(): void {
    this.#loop.wake();
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  async #step(): Promise<number | undefined> {
    const { runner, rows = 512, onHead, onStep } = this.#options;
    const step = await stepLog(runner, rows);
    onStep?.(step);
    if (step.busy) return BUSY_MS;
    if (step.numbered > 0) onHead(step.head);
    return step.more ? 0 : undefined;
  }
}
