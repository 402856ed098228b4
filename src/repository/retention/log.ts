/**
 * Retention of the log, step by step (migration 0050 tells the order and why). Each function is one transaction; while
 * another process does the same it does nothing.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { RetentionHold } from './part.js';

const work = statement(
  'retention.log-work',
  'select floors, consumers, cut, closing, dropping, runs, held from {schema}.log_work($1::bigint)',
);
const raise = statement('retention.log-floors', 'select {schema}.raise_log_floors() as raised');
const prune = statement('retention.log-consumers', 'select {schema}.prune_consumers($1::int) as pruned');
const cut = statement('retention.log-cut', 'select {schema}.cut_log($1::bigint) as done');
const close = statement('retention.log-close', 'select closed, more from {schema}.close_log_partition($1::int)');
const drop = statement('retention.log-drop', 'select verdict, entries, bytes from {schema}.drop_log_partition()');
const due = statement('retention.log-due', 'select partitions, entries, bytes from {schema}.log_partitions_due()');
const sweep = statement('retention.log-runs', 'select {schema}.sweep_log_runs($1::int) as gone');
const holds = statement('retention.log-holds', 'select holder, namespace, count, since from {schema}.log_holds()');
const oldest = statement('retention.log-oldest', 'select l.at from {schema}.log l order by l.seq limit 1');

export interface LogWork {
  /** Floors of namespaces are to rise. */
  readonly floors: boolean;
  /** Some stand below a floor. */
  readonly consumers: boolean;
  /** The next partition is to begin early. */
  readonly cut: boolean;
  readonly closing: boolean;
  readonly dropping: boolean;
  /** Some number only what is gone. */
  readonly runs: boolean;
  /** `logHolds` tells by whom. */
  readonly held: boolean;
}

/** `rows`: transactions per partition. */
export async function logWork(runner: Runner, rows: number): Promise<LogWork> {
  const [found] = await runner.query<LogWork>(work, [rows]);
  if (found === undefined) throw new Error('log_work answered nothing');
  return found;
}

/** Answers how many namespaces' floors rose. */
export async function raiseLogFloors(runner: Runner): Promise<number> {
  const [row] = await runner.query<{ raised: number }>(raise);
  return row?.raised ?? 0;
}

/** Halts consumers that retention has left behind; answers how many. */
export async function pruneConsumers(runner: Runner, limit: number): Promise<number> {
  const [row] = await runner.query<{ pruned: number }>(prune, [limit]);
  return row?.pruned ?? 0;
}

/** Begins the next partition if that is due. */
export async function cutLog(runner: Runner, rows: number): Promise<boolean> {
  const [row] = await runner.query<{ done: boolean }>(cut, [rows]);
  return row?.done ?? false;
}

/** Counts the next so many rows of the oldest open partition that can get no more, and closes it in the end. */
export async function closeLogPartition(
  runner: Runner,
  rows: number,
): Promise<{ readonly closed: boolean; readonly more: boolean }> {
  const [row] = await runner.query<{ closed: boolean; more: boolean }>(close, [rows]);
  return row ?? { closed: false, more: false };
}

export interface LogDrop {
  /** held: `logHolds` tells by whom. busy: somebody uses the log at this moment; try again. */
  readonly verdict: 'dropped' | 'none' | 'held' | 'busy';
  readonly entries: number;
  readonly bytes: number;
}

/** Drops the oldest partition if all of it is to go. */
export async function dropLogPartition(runner: Runner): Promise<LogDrop> {
  const [row] = await runner.query<{ verdict: LogDrop['verdict']; entries: bigint; bytes: bigint }>(drop);
  if (row === undefined) throw new Error('drop_log_partition answered nothing');
  return { verdict: row.verdict, entries: Number(row.entries), bytes: Number(row.bytes) };
}

export interface LogDue {
  readonly partitions: number;
  readonly entries: number;
  readonly bytes: number;
}

/** What could be dropped now. */
export async function logPartitionsDue(runner: Runner): Promise<LogDue> {
  const [row] = await runner.query<{ partitions: number; entries: bigint; bytes: bigint }>(due);
  if (row === undefined) throw new Error('log_partitions_due answered nothing');
  return { partitions: row.partitions, entries: Number(row.entries), bytes: Number(row.bytes) };
}

/** Deletes runs of positions that are gone; answers how many. */
export async function sweepLogRuns(runner: Runner, limit: number): Promise<number> {
  const [row] = await runner.query<{ gone: number }>(sweep, [limit]);
  return row?.gone ?? 0;
}

/** What keeps entries that retention would have gone. */
export async function logHolds(runner: Runner): Promise<RetentionHold[]> {
  const rows = await runner.query<{ holder: string; namespace: string; count: bigint; since: Date | null }>(holds);
  return rows.map(({ holder, namespace, count, since }) => ({
    subject: 'log',
    holder,
    namespace,
    count: Number(count),
    since: since ?? undefined,
  }));
}

/** When the oldest entry that is stored was recorded; undefined while there is none. */
export async function oldestLogEntry(runner: Runner): Promise<Date | undefined> {
  const [row] = await runner.query<{ at: Date }>(oldest);
  return row?.at;
}
