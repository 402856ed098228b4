/**
 * The part of retention that lets go of the log: floors rise, consumers that stand below them are halted, and partitions of
 * which nobody sees or needs anything any more are dropped, the oldest first.
 */
import type { Runner } from '../repository/database.js';
import { ensureLogPartitions } from '../repository/log/index.js';
import {
  closeLogPartition,
  cutLog,
  dropLogPartition,
  logHolds,
  logPartitionsDue,
  logWork,
  NOTHING_RETIRED,
  pruneConsumers,
  type RetentionPart,
  type RetentionResult,
  raiseLogFloors,
  sweepLogRuns,
} from '../repository/retention/index.js';
import { monotonicMs } from '../runtime/clock.js';

/** Transactions of the log that are counted at once, about 100 ms. */
const ROWS = 20_000;
const CONSUMERS = 100;
const RUNS = 5_000;

/** `partitionRows`: transactions per partition of the log. */
export function logRetention(partitionRows: number): RetentionPart {
  return {
    name: 'log',
    async run(runner, until, signal) {
      const isOver = () => signal.aborted || monotonicMs() >= until;
      let { floors, consumers, cut, closing, dropping, runs, held } = await logWork(runner, partitionRows);
      if (floors && (await raiseLogFloors(runner)) > 0) dropping = consumers = true;
      if (consumers) while ((await pruneConsumers(runner, CONSUMERS)) >= CONSUMERS && !isOver());
      // Two are always there beyond the one in use.
      if (cut && (await cutLog(runner, partitionRows))) await ensureLogPartitions(runner, partitionRows);
      if (closing) dropping = (await closeAll(runner, isOver)) || dropping;
      const dropped = dropping ? await dropAll(runner, isOver) : NOTHING_RETIRED;
      if (runs || dropped.droppedPartitions > 0) while ((await sweepLogRuns(runner, RUNS)) >= RUNS && !isOver());
      held ||= dropping;
      return { ...dropped, holds: held ? await logHolds(runner) : [], more: dropped.more || isOver() };
    },
    async foresee(runner) {
      const { partitions, entries, bytes } = await logPartitionsDue(runner);
      return {
        ...NOTHING_RETIRED,
        droppedPartitions: partitions,
        droppedEntries: entries,
        freedBytes: bytes,
        holds: await logHolds(runner),
      };
    },
  };
}

/** Whether one was closed. */
async function closeAll(runner: Runner, isOver: () => boolean): Promise<boolean> {
  let any = false;
  for (let more = true; more && !isOver(); ) {
    const step = await closeLogPartition(runner, ROWS);
    any ||= step.closed;
    more = step.more;
  }
  return any;
}

async function dropAll(runner: Runner, isOver: () => boolean): Promise<RetentionResult> {
  let [droppedPartitions, droppedEntries, freedBytes] = [0, 0, 0];
  for (;;) {
    const { verdict, entries, bytes } = await dropLogPartition(runner);
    if (verdict === 'dropped') {
      droppedPartitions++;
      droppedEntries += entries;
      freedBytes += bytes;
    }
    if (verdict === 'dropped' && !isOver()) continue;
    return { ...NOTHING_RETIRED, droppedPartitions, droppedEntries, freedBytes, more: verdict === 'dropped' };
  }
}
