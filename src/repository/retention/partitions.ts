/**
 * Retires the old partitions of executions, or of events, step by step (migration 0049 tells how), and deletes what was kept of
 * them once nobody needs it any more. While somebody reads the tables for longer than others may be made to wait, it waits.
 */
import { monotonicMs, pause } from '../../runtime/clock.js';
import type { Runner } from '../database.js';
import { FIRST_ID } from '../inspection/id-bounds.js';
import { statement } from '../statement.js';
import { addRetired, NOTHING_RETIRED, type RetentionHold, type RetentionPart, type RetentionResult } from './part.js';

const step = statement(
  'retention.step',
  `select did, holders, kept, namespaces, gone, partitions, bytes
   from {schema}.retire_step($1, $2::int, $3::int, $4::text[], $5::int, $6::bigint, $7::bigint)`,
);
const forget = statement(
  'retention.kept',
  'select done, rows, namespaces, gone from {schema}.forget_kept($1, $2::int, $3::bigint)',
);
const foresee = statement(
  'retention.foresee',
  'select last, kept, namespaces, gone from {schema}.foresee_retiring($1, $2::uuid, $3::int)',
);
const retirable = statement('retention.retirable', 'select partitions, bytes from {schema}.retirable($1, $2::int)');
const waits = statement(
  'retention.waits',
  `select r.waits_for, r.waits_since from {schema}.retirement r where r.subject = $1 and r.waits_for <> ''`,
);

export type PartitionSubject = 'executions' | 'events';

export interface PartitionPartOptions {
  readonly subject: PartitionSubject;
  /** From one round over what is kept to the next. */
  readonly roundMs: number;
  /** After each exchange of partitions, for the log of the process. */
  readonly onDropped: (dropped: DroppedPartitions) => void;
  /** Rows looked at per transaction. */
  readonly rows?: number;
}

export interface DroppedPartitions {
  readonly subject: PartitionSubject;
  readonly partitions: number;
  readonly bytes: number;
  readonly executions: number;
  readonly kept: number;
}

/** Exchanged at once: everybody waits for that moment. */
const PARTITIONS = 8;
const ALL_PARTITIONS = 1_000_000;
const ROWS = 1_000;
/**
 * What others may be made to wait for the tables, at most; and a transaction that was there so long before is not queued behind.
 * It doubles with every run that came to nothing: where one reader follows another, none of them is ever found gone.
 */
const WAIT_MS = 150;
const MOST_WAIT_MS = 2_000;
/** Between two tries of a run. */
const AGAIN_MS = 200;
/** Partitions to which ids may still come are looked through under the lock when they hold no more than this. */
const MOST_ROWS = 50_000;
/** Of those that go next, still needed: moving so many is what everybody is made to wait for, at worst some two seconds. */
const MOST_KEPT = 25_000;
const TRIES = 3;

interface StepRow extends CountedRow {
  readonly did: 'locked' | 'nothing' | 'copied' | 'ready' | 'waits' | 'full' | 'busy' | 'young' | 'swapped' | 'dropped';
  readonly holders: string[] | null;
  readonly kept: bigint | null;
  readonly partitions: number | null;
  readonly bytes: bigint | null;
}

interface CountedRow {
  readonly namespaces: number[] | null;
  readonly gone: bigint[] | null;
}

export function partitionPart(options: PartitionPartOptions): RetentionPart {
  let waitMs = WAIT_MS;
  return {
    name: options.subject,
    run: async (runner, until, signal) => {
      const result = await retire(runner, until, signal, options, waitMs);
      waitMs = result.holds.length === 0 ? WAIT_MS : Math.min(MOST_WAIT_MS, waitMs * 2);
      return result;
    },
    foresee: (runner) => foreseen(runner, options.subject),
  };
}

async function retire(
  runner: Runner,
  until: number,
  signal: AbortSignal,
  { subject, roundMs, onDropped, rows = ROWS }: PartitionPartOptions,
  waitMs: number,
): Promise<RetentionResult> {
  let total = NOTHING_RETIRED;
  let seen: string[] | null = null;
  let tries = 0;
  let swapped = NOTHING_RETIRED;
  for (;;) {
    if (signal.aborted || monotonicMs() >= until) return { ...total, more: true };
    const asked: unknown[] = [subject, PARTITIONS, rows, seen, waitMs, MOST_ROWS, MOST_KEPT];
    const [row]: StepRow[] = await runner.query<StepRow>(step, asked);
    seen = null;
    if (row?.did === 'locked') return { ...total, more: true };
    if (row === undefined || row.did === 'nothing') break;
    if (row.did === 'ready') {
      seen = row.holders;
      await pause(waitMs, signal);
    } else if (row.did === 'swapped') {
      swapped = { ...counted(row), keptRows: Number(row.kept ?? 0) };
      total = addRetired(total, swapped);
    } else if (row.did === 'dropped') {
      const dropped = { partitions: row.partitions ?? 0, bytes: Number(row.bytes ?? 0) };
      total = addRetired(total, {
        ...NOTHING_RETIRED,
        droppedPartitions: dropped.partitions,
        freedBytes: dropped.bytes,
      });
      onDropped({ subject, ...dropped, executions: swapped.retiredExecutions, kept: swapped.keptRows });
    } else if (row.did === 'busy' && ++tries < TRIES) {
      await pause(AGAIN_MS, signal);
    } else if (row.did !== 'copied') {
      total = { ...total, holds: await partitionHolds(runner, subject) };
      break;
    }
  }
  for (;;) {
    if (signal.aborted || monotonicMs() >= until) return { ...total, more: true };
    const [row] = await runner.query<CountedRow & { done: boolean }>(forget, [subject, rows, roundMs]);
    if (row === undefined) return total;
    total = addRetired(total, counted(row));
    if (row.done) return total;
  }
}

async function foreseen(runner: Runner, subject: PartitionSubject): Promise<RetentionResult> {
  const [goes] = await runner.query<{ partitions: number; bytes: bigint }>(retirable, [subject, ALL_PARTITIONS]);
  let total: RetentionResult = {
    ...NOTHING_RETIRED,
    droppedPartitions: goes?.partitions ?? 0,
    freedBytes: Number(goes?.bytes ?? 0),
    holds: await partitionHolds(runner, subject),
  };
  for (let after: string | null = FIRST_ID; after !== null; ) {
    const rows: (CountedRow & { last: string | null; kept: bigint })[] = await runner.query(foresee, [
      subject,
      after,
      ROWS,
    ]);
    const [row] = rows;
    if (row !== undefined) total = addRetired(total, { ...counted(row), keptRows: Number(row.kept) });
    after = row?.last ?? null;
  }
  return total;
}

/** For whom retiring waits at present. */
export async function partitionHolds(runner: Runner, subject: PartitionSubject): Promise<RetentionHold[]> {
  const rows = await runner.query<{ waits_for: string; waits_since: Date | null }>(waits, [subject]);
  return rows.map(({ waits_for, waits_since }) => ({
    subject,
    holder: waits_for,
    namespace: '',
    count: 0,
    since: waits_since ?? undefined,
  }));
}

function counted(row: CountedRow): RetentionResult {
  const retiredBy = new Map((row.namespaces ?? []).map((namespace, i) => [namespace, Number(row.gone?.[i] ?? 0)]));
  return {
    ...NOTHING_RETIRED,
    retiredExecutions: [...retiredBy.values()].reduce((sum, n) => sum + n, 0),
    retiredBy,
  };
}
