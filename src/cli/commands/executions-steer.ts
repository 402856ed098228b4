/** Executions, changed from outside. */
import { randomUUID } from 'node:crypto';
import {
  ChangeExecutionResponseSchema,
  ResumeExecutionResponseSchema,
  RevokeLeaseResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { CancelEffectSchema, CancelMode } from '../../../gen/tailrace/v1/cancel_pb.js';
import { CancelExecutionResponseSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { payloadOf, payloadRules } from '../input.js';
import { NOTE, REASON, WAIT, waitMs } from '../recurring-options.js';
import { argument, flag, future, large, span, text, whole } from '../rules.js';
import { done, present } from '../showing.js';
import { UsageError } from '../usage-error.js';

const EXECUTION = { execution: argument('execution', 'Id of the execution.') };

/** As cancellations of flows take them too. */
export const CANCEL = {
  now: flag('End running work in the call; its worker finds out later.'),
  grace: span('How long running work may go on after it was asked to stop. 1s to 1h, default 30s.'),
};

export function cancelPolicy({ now, grace }: { now: boolean; grace: Parameters<typeof waitMs>[0] }) {
  if (now && grace) throw new UsageError('--now leaves no grace');
  if (!now && !grace) return undefined;
  return { mode: now ? CancelMode.NOW : CancelMode.COOPERATIVE, ...fields({ grace }) };
}

export const cancelExecution = command({
  name: 'cancel',
  about: 'Cancel an execution: waiting work ends at once, running work is asked to stop.',
  arguments: EXECUTION,
  options: { ...CANCEL, ...WAIT, ...REASON },
  examples: [
    [
      'Ask a running one to stop, and wait for it',
      'tailrace executions cancel 01890a5d-… --wait 30s --reason "wrong input"',
    ],
  ],
  async run(session, { execution, wait, reason, ...how }) {
    const asked = fields({
      namespace: session.namespace,
      requestId: randomUUID(),
      executionId: execution,
      reason,
      policy: cancelPolicy(how),
      wait,
    });
    const answer = await session.api.engine.cancelExecution(asked, session.bounds(waitMs(wait)));
    const { effect = 0, state = 0 } = answer.execution ?? {};
    const children = answer.children.length > 0 ? `, with ${answer.children.length} children` : '';
    const sentence = `${execution}: ${nameOf(CancelEffectSchema, effect)}, now ${nameOf(ExecutionStateSchema, state)}${children}`;
    return await done(session, CancelExecutionResponseSchema, answer, sentence);
  },
});

export const changeExecution = command({
  name: 'change',
  about: 'Change the priority or the run time of waiting work.',
  arguments: EXECUTION,
  options: {
    priority: whole('number', 'Higher ones are claimed first.', -(2 ** 31)),
    runAt: future('Not before this time: RFC 3339, or from now, such as +10m.'),
    ...REASON,
  },
  examples: [
    ['To the front of its lane', 'tailrace executions change 01890a5d-… --priority 100 --reason "the customer waits"'],
  ],
  async run(session, { execution, priority, runAt, reason }) {
    if (priority === undefined && runAt === undefined)
      throw new UsageError('nothing to change: --priority or --run-at');
    const asked = fields({ namespace: session.namespace, executionId: execution, priority, runTime: runAt, reason });
    const answer = await session.api.admin.changeExecution(asked, session.bounds());
    const is = present(answer.execution);
    const sentence = `${execution} is ${nameOf(ExecutionStateSchema, is.state)}, priority ${is.priority}`;
    return await done(session, ChangeExecutionResponseSchema, answer, sentence);
  },
});

export const revokeExecution = command({
  name: 'revoke',
  about: 'Take a running execution from its holder; it is claimable again, and the attempt counts nothing.',
  arguments: EXECUTION,
  options: { fencingToken: large('token', 'Only if this lease still holds it.'), ...REASON },
  examples: [['From a worker that hangs', 'tailrace executions revoke 01890a5d-… --reason "the worker hangs"']],
  async run(session, { execution, fencingToken, reason }) {
    const asked = fields({ namespace: session.namespace, executionId: execution, fencingToken, reason });
    const answer = await session.api.admin.revokeLease(asked, session.bounds());
    const holder = answer.revokedLease?.worker?.name ?? '';
    const sentence = `${execution} was taken from ${holder || 'its holder'} and is ${nameOf(ExecutionStateSchema, answer.state)}`;
    return await done(session, RevokeLeaseResponseSchema, answer, sentence);
  },
});

export const resumeExecution = command({
  name: 'resume',
  about: "Let a parked execution go on by an operator's word, whatever its condition.",
  arguments: EXECUTION,
  options: {
    suspension: whole('number', 'Only if it is still in this suspension.', 1),
    signal: text('name', 'Name of the signal that its handler sees. Default resume.'),
    ...payloadRules('input', 'Content of that signal'),
    ...NOTE,
  },
  examples: [['Approve by hand', `tailrace executions resume 01890a5d-… --signal approved --input '{"by":"ops"}'`]],
  async run(session, given) {
    const asked = fields({
      namespace: session.namespace,
      executionId: given.execution,
      suspensionNumber: given.suspension,
      signalName: given.signal,
      payload: await payloadOf(session, given.input, given.inputFile, given.contentType),
      note: given.note,
    });
    const answer = await session.api.admin.resumeExecution(asked, session.bounds());
    const sentence = `${given.execution} goes on: ${nameOf(ExecutionStateSchema, answer.state)}`;
    return await done(session, ResumeExecutionResponseSchema, answer, sentence);
  },
});
