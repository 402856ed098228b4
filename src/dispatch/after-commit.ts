/**
 * What this process does after a commit of its own, so that nobody has to wait for the pulse: waiting claims look again,
 * sweepers know when something is due, the sequencer numbers what was logged. All hints; losing them costs latency only.
 */
import type { SweepSubject } from '../repository/sweeping/index.js';
import { wallMs } from '../runtime/clock.js';

export interface AfterCommit {
  /** So many executions of this class became claimable. */
  queued(classId: number, count: number): void;
  /** A lease of this class, or (undefined) of one that is not known here, has ended: a limit that it counted in may have room. */
  freed(classId?: number): void;
  /** Something is due in so many milliseconds. */
  due(subject: SweepSubject, ms: number): void;
  /** The output of these executions has grown. */
  appended(executions: readonly string[]): void;
  /** The log has grown, and so many rows of hot tables have moved. */
  committed(rows: number): void;
}

/**
 * What an end, or a change of a flow, brought about for others in its transaction: `woken` are classes that got claimable
 * work, one per execution; `follows` says that something is left to be done.
 */
export function tellConsequences(
  after: AfterCommit,
  { woken, follows }: { readonly woken: readonly number[] | null; readonly follows: boolean | null },
): void {
  const counts = new Map<number, number>();
  for (const classId of woken ?? []) counts.set(classId, (counts.get(classId) ?? 0) + 1);
  for (const [classId, count] of counts) after.queued(classId, count);
  if (follows) after.due('followUps', 0);
}

/** Milliseconds until then by this machine's clock, which is good enough for a hint. */
export function untilMs(time: Date | null): number {
  return time === null ? 0 : time.getTime() - wallMs();
}
