/** Many executions that are given up at once, and the letters they leave. */
import type { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import { type Init, leaseOf, ok, seconds } from './by-hand.js';
import type { Clients } from './tailrace.js';

export interface GivenUp {
  readonly spec: Init<ExecutionSpec>;
  readonly message: string;
}

const PERMANENT = 2 as FailureClass;

/** Their letters, in the order of what was given up. Lanes that the specs name must hold nothing else. */
export async function giveUp(clients: Clients, namespace: string, given: readonly GivenUp[]): Promise<string[]> {
  const executions = given.map(({ spec }) => ({ type: 'work', lane: 'given up', ...spec }));
  const { results } = await clients.engine.createExecutions({ namespace, executions });
  const ids = results.map((result) => ok(result).executionId);
  const lanes = [...new Set(executions.map(({ lane }) => lane))].map((lane) => ({ lane }));
  const messages = new Map(ids.map((id, i) => [id, given[i]?.message ?? '']));
  for (let left = ids.length; left > 0; ) {
    const ask = {
      namespace,
      lanes,
      worker: { name: 'hand', instanceId: 'hand' },
      maxExecutions: 500,
      wait: seconds(5),
    };
    const { claims } = await clients.engine.claimExecutions(ask);
    if (claims.length === 0) throw new Error(`${left} of ${ids.length} executions cannot be claimed`);
    const reports = claims.map((claim) => ({
      lease: leaseOf(claim),
      failure: { failureClass: PERMANENT, message: messages.get(claim.lease?.executionId ?? '') ?? '' },
    }));
    for (const result of (await clients.engine.failExecutions({ namespace, reports })).results) ok(result);
    left -= claims.length;
  }
  const letters = new Map<string, string>();
  for (let pageToken = '', more = true; more; more = pageToken !== '') {
    const page = await clients.deadLetters.listDeadLetters({ namespace, pageSize: 1_000, pageToken });
    for (const { subject, deadLetterId } of page.deadLetters) {
      if (subject?.subject.case === 'executionId') letters.set(subject.subject.value, deadLetterId);
    }
    pageToken = page.nextPageToken;
  }
  return ids.map((id) => letters.get(id) ?? '');
}
