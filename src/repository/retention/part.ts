/**
 * A part of retention: one kind of storage that lets go of the past. The loop and RunRetention run all parts, one after
 * another; a part keeps other processes out by itself, works in short transactions, and may be killed between any two.
 */
import type { Runner } from '../database.js';

/** What keeps old data from going. */
export interface RetentionHold {
  readonly subject: 'executions' | 'events' | 'log';
  /** Who holds it, for people: a consumer by its name, a reader that the engine waits for, open work by its kind. */
  readonly holder: string;
  /** Namespace of the holder; empty for the database. */
  readonly namespace: string;
  /** Rows kept for it, or entries it has not read, as far as they were counted. */
  readonly count: number;
  readonly since: Date | undefined;
}

/** What a run did, or would do. */
export interface RetentionResult {
  /** Terminal executions that are gone. */
  readonly retiredExecutions: number;
  /** The same by namespace. */
  readonly retiredBy?: ReadonlyMap<number, number>;
  readonly droppedPartitions: number;
  /** Rows that were copied because somebody still needs them. */
  readonly keptRows: number;
  /** Closed dead letters that are gone. */
  readonly purgedLetters: number;
  /** Entries of the log that are gone. */
  readonly droppedEntries: number;
  /** Bytes that dropped partitions gave back to the disk. */
  readonly freedBytes: number;
  readonly holds: readonly RetentionHold[];
  /** There is more to do now. */
  readonly more: boolean;
}

export interface RetentionPart {
  /** For the log of the process and of errors. */
  readonly name: string;
  /**
   * Works until nothing is left, `until` (milliseconds of the monotonic clock) or the signal; takes steps of well under a
   * second. Without anything to do, or while another process works on it, it answers NOTHING_RETIRED at the cost of one
   * statement.
   */
  run(runner: Runner, until: number, signal: AbortSignal): Promise<RetentionResult>;
  /** What a run would do that began now and had all the time it wants. Changes nothing. */
  foresee(runner: Runner): Promise<RetentionResult>;
}

export const NOTHING_RETIRED: RetentionResult = {
  retiredExecutions: 0,
  droppedPartitions: 0,
  keptRows: 0,
  purgedLetters: 0,
  droppedEntries: 0,
  freedBytes: 0,
  holds: [],
  more: false,
};

/** What both did, together. */
export function addRetired(a: RetentionResult, b: RetentionResult): RetentionResult {
  const retiredBy = new Map(a.retiredBy);
  for (const [namespace, n] of b.retiredBy ?? []) retiredBy.set(namespace, (retiredBy.get(namespace) ?? 0) + n);
  return {
    retiredBy,
    retiredExecutions: a.retiredExecutions + b.retiredExecutions,
    droppedPartitions: a.droppedPartitions + b.droppedPartitions,
    keptRows: a.keptRows + b.keptRows,
    purgedLetters: a.purgedLetters + b.purgedLetters,
    droppedEntries: a.droppedEntries + b.droppedEntries,
    freedBytes: a.freedBytes + b.freedBytes,
    holds: [...a.holds, ...b.holds],
    more: a.more || b.more,
  };
}
