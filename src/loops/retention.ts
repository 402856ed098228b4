/**
 * Retention: floors move, and what lies below them goes, part by part. It runs on every process, and whatever a process is
 * killed in is gone on with by another; each part lets one process work on it at a time. It runs more often when partitions
 * are narrow, since disk returns in their steps; an operator may have it run at once.
 */
import type { Database } from '../repository/database.js';
import {
  addRetired,
  type DroppedPartitions,
  type Kept,
  lettersPart,
  moveFloors,
  NOTHING_RETIRED,
  partitionPart,
  type RetentionPart,
  type RetentionResult,
  sidesPart,
} from '../repository/retention/index.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import { Loop } from '../runtime/loop.js';
import { keyRetention } from './key-retention.js';
import { logRetention } from './log-retention.js';

export interface RetentionOptions {
  readonly database: Database;
  /** Width of the partitions by time. */
  readonly partitionMs: number;
  readonly logPartitionRows: number;
  readonly kept: Kept;
  /** Closed dead letters, where a namespace says nothing else; undefined: for ever. */
  readonly lettersMs: number | undefined;
  /** Ids of events that are not UUIDv7, where a namespace says nothing else. */
  readonly eventIdsMs: number;
  /** Partitions of executions or events went. */
  readonly onDropped: (dropped: DroppedPartitions) => void;
  readonly onError: (name: string, error: unknown) => void;
}

const MOST_PAUSE_MS = 60_000;
const LEAST_PAUSE_MS = 1_000;
/** At least between two rounds over what was kept, and over other tables. */
const MOST_ROUND_MS = 3_600_000;
const AGAIN_MS = 200;
/** A run of the loop; the next one goes on where it ended. */
const RUN_MS = 20_000;

export class Retention {
  readonly #options: RetentionOptions;
  readonly #parts: readonly RetentionPart[];
  readonly #loop: Loop;

  constructor(options: RetentionOptions) {
    this.#options = options;
    const { partitionMs, lettersMs, eventIdsMs, onError } = options;
    this.#parts = [lettersPart({ keptMs: lettersMs }), ...this.#shared(), keyRetention({ eventIdsMs })];
    const pauseMs = Math.min(MOST_PAUSE_MS, Math.max(LEAST_PAUSE_MS, partitionMs));
    // Not at once: a server that starts, or many of them, has other things to do.
    let begun = false;
    this.#loop = new Loop({
      name: 'retention',
      onError,
      body: async (signal) => {
        if (!begun) {
          begun = true;
          return pauseMs;
        }
        const { more } = await this.#run(this.#parts, monotonicMs() + RUN_MS, signal);
        return more ? LEAST_PAUSE_MS : pauseMs;
      },
    });
  }

  start(): void {
    this.#loop.start();
  }

  async stop(): Promise<void> {
    await this.#loop.stop();
  }

  /**
   * Does now what it does by itself, until nothing is left or the time is over. namespace: its floor and its letters; what is
   * stored is shared by all, so partitions go as far as everybody's floors let them.
   */
  async runNow(namespace: number | undefined, mostMs: number, signal: AbortSignal): Promise<RetentionResult> {
    const until = monotonicMs() + mostMs;
    let total = NOTHING_RETIRED;
    for (;;) {
      const result = await this.#run(this.#asked(namespace), until, signal, namespace);
      total = { ...addRetired(total, result), holds: result.holds, more: result.more };
      if (!total.more || signal.aborted || monotonicMs() >= until) return total;
      // Another process is at a part of it.
      await pause(AGAIN_MS, signal);
    }
  }

  /** What `runNow` would do with the floors where they are. Changes nothing. */
  async foresee(namespace: number | undefined): Promise<RetentionResult> {
    const { database } = this.#options;
    let total = NOTHING_RETIRED;
    for (const part of this.#asked(namespace)) total = addRetired(total, await part.foresee(database));
    return total;
  }

  #asked(namespace: number | undefined): readonly RetentionPart[] {
    if (namespace === undefined) return this.#parts;
    return [lettersPart({ keptMs: this.#options.lettersMs, namespace }), ...this.#shared()];
  }

  #shared(): RetentionPart[] {
    const { partitionMs, logPartitionRows, onDropped } = this.#options;
    const roundMs = Math.min(MOST_ROUND_MS, partitionMs / 8);
    return [
      partitionPart({ subject: 'executions', roundMs, onDropped }),
      partitionPart({ subject: 'events', roundMs, onDropped }),
      sidesPart({ roundMs }),
      logRetention(logPartitionRows),
    ];
  }

  async #run(
    parts: readonly RetentionPart[],
    until: number,
    signal: AbortSignal,
    namespace?: number,
  ): Promise<RetentionResult> {
    const { database, kept } = this.#options;
    await moveFloors(database, kept, namespace);
    let total = NOTHING_RETIRED;
    for (const part of parts) {
      total = addRetired(total, await part.run(database, until, signal));
      if (signal.aborted) break;
    }
    return total;
  }
}
