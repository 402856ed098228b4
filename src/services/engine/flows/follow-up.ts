/** What this process does after a commit that made members or children: hints, as AfterCommit says. */
import type { AfterCommit } from '../../../dispatch/after-commit.js';
import type { NewExecution } from '../../../repository/executions/index.js';
import type { Consequences, NewJoin } from '../../../repository/flows/index.js';
import { wallMs } from '../../../runtime/clock.js';

export function tellMade(after: AfterCommit, { woken, follows }: Consequences, made: readonly NewExecution[]): void {
  const counts = new Map<number, number>();
  for (const item of made) {
    counts.set(item.class, (counts.get(item.class) ?? 0) + 1);
    if (item.delayMs !== null || item.runAt !== null) after.due('scheduled', item.delayMs ?? until(item.runAt));
    if (item.ttlMs !== null) after.due('timers', item.ttlMs);
    if (item.deadline !== null) after.due('timers', until(item.deadline));
  }
  after.committed(made.length);
  // Of a class that was made here not all need be claimable; a wake-up too many finds nothing.
  for (const classId of new Set(woken)) after.queued(classId, counts.get(classId) ?? 1);
  if (follows) after.due('followUps', 0);
}

/** By this machine's clock, which is good enough for a hint. */
function until(time: Date | null): number {
  return time === null ? 0 : time.getTime() - wallMs();
}

/** Joins that will have waited long enough. */
export function tellTimeouts(after: AfterCommit, joins: readonly NewJoin[]): void {
  for (const { policy } of joins) if (policy && policy.timeoutMs !== null) after.due('joins', policy.timeoutMs);
}
