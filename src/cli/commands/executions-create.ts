/** `tailrace executions create` */
import { randomUUID } from 'node:crypto';
import { CreatedExecutionSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { fromItemError } from '../../client/errors.js';
import { command } from '../command.js';
import { fields } from '../fields.js';
import { payloadOf, payloadRules } from '../input.js';
import { argument, future, pairs, span, text, texts, whole } from '../rules.js';
import { done, present } from '../showing.js';

export const createExecution = command({
  name: 'create',
  about: 'Create an execution and print its id.',
  details: 'A repeat with the same --request-id or --id creates nothing and prints the first id.',
  arguments: { type: argument('type', 'What it is: the handler that workers registered.') },
  options: {
    lane: text('lane', 'Lane. Default: default.', { names: 'lanes' }),
    ...payloadRules('input', 'The input'),
    priority: whole('number', 'Higher ones are claimed first. Default 0.', -(2 ** 31)),
    runAt: future('Not before this time: RFC 3339, or from now, such as +10m.'),
    delay: span('Not before so much time has passed.'),
    ttl: span('It expires unless it has started by then.'),
    deadline: future('It expires unless it has ended by then.'),
    attemptTimeout: span('Longest time of one attempt.'),
    maxAttempts: whole('count', 'Attempts at most.', 1),
    tag: pairs('Tag.'),
    capability: texts('name', 'Capability that its worker must have.'),
    concurrencyKey: text('key', 'As many as the limit of the key run at once.'),
    orderingKey: text('key', 'One after the other, in the order of their creation.'),
    flow: text('flow', 'Flow to belong to.'),
    requestId: text('id', 'Keeps a repeat from creating another one. Default: a fresh one.'),
    id: text('execution', 'Its id, a UUID of version 7. Default: the server makes one.'),
  },
  examples: [
    ['With an input in the line', `tailrace executions create hello --input '{"name":"world"}'`],
    [
      'With an input from another program, in an hour',
      'make-report | tailrace executions create send --input-file - --run-at +1h',
    ],
    ['Create it and wait for its end', 'tailrace executions await $(tailrace executions create hello)'],
  ],
  async run(session, given) {
    const execution = fields({
      type: given.type,
      lane: given.lane,
      input: await payloadOf(session, given.input, given.inputFile, given.contentType),
      priority: given.priority,
      runTime: given.runAt,
      delay: given.delay,
      ttl: given.ttl,
      deadlineTime: given.deadline,
      attemptTimeout: given.attemptTimeout,
      retryPolicy: given.maxAttempts === undefined ? undefined : { maxAttempts: given.maxAttempts },
      tags: { ...given.tag },
      requiredCapabilities: [...given.capability],
      concurrencyKey: given.concurrencyKey,
      orderingKey: given.orderingKey,
      flowId: given.flow,
      requestId: given.requestId ?? randomUUID(),
      executionId: given.id,
    });
    const asked = { namespace: session.namespace, executions: [execution] };
    const { results } = await session.api.engine.createExecutions(asked, session.bounds());
    const { result } = present(results[0]);
    if (result.case === 'error') throw fromItemError(result.value);
    const created = present(result.value);
    if (created.duplicate) session.output.note('it was created before; nothing was done');
    return await done(session, CreatedExecutionSchema, created, created.executionId);
  },
});
