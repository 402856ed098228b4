/** What this process does after a commit that made members or children: hints, as AfterCommit says. */
import { type AfterCommit, tellConsequences, untilMs } from '../../../dispatch/after-commit.js';
import type { NewExecution } from '../../../repository/executions/index.js';
import type { Consequences, NewJoin } from '../../../repository/flows/index.js';

/** `made` are the executions that the call made, whether they are claimable or not. */
export function tellMade(after: AfterCommit, consequences: Consequences, made: readonly NewExecution[]): void {
  for (const { delayMs, runAt, ttlMs, deadline } of made) {
    if (delayMs !== null || runAt !== null) after.due('scheduled', delayMs ?? untilMs(runAt));
    if (ttlMs !== null) after.due('timers', ttlMs);
    if (deadline !== null) after.due('timers', untilMs(deadline));
  }
  after.committed(made.length);
  tellConsequences(after, consequences);
}

/** Joins that will have waited long enough. */
export function tellTimeouts(after: AfterCommit, joins: readonly NewJoin[]): void {
  for (const { policy } of joins) if (policy && policy.timeoutMs !== null) after.due('joins', policy.timeoutMs);
}
