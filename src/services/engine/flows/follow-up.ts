/** What this process does after a commit that made members or children: hints, as AfterCommit says. */
import type { AfterCommit } from '../../../dispatch/after-commit.js';
import type { NewExecution } from '../../../repository/executions/index.js';
import type { Consequences, NewJoin } from '../../../repository/flows/index.js';
import { wallMs } from '../../../runtime/clock.js';

/** `made` are the executions that the call made, whether they are claimable or not. */
export function tellMade(after: AfterCommit, { woken, follows }: Consequences, made: readonly NewExecution[]): void {
  for (const { delayMs, runAt, ttlMs, deadline } of made) {
    if (delayMs !== null || runAt !== null) after.due('scheduled', delayMs ?? until(runAt));
    if (ttlMs !== null) after.due('timers', ttlMs);
    if (deadline !== null) after.due('timers', until(deadline));
  }
  after.committed(made.length);
  const counts = new Map<number, number>();
  for (const classId of woken) counts.set(classId, (counts.get(classId) ?? 0) + 1);
  for (const [classId, count] of counts) after.queued(classId, count);
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
