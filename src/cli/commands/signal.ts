/** `tailrace signal` */
import { randomUUID } from 'node:crypto';
import { SignalExecutionResponseSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { SignalEffectSchema, SignalSource } from '../../../gen/tailrace/v1/signal_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { contentOf, payloadOf, payloadRules } from '../input.js';
import { argument, flag, text } from '../rules.js';
import { done } from '../showing.js';
import { UsageError } from '../usage-error.js';

export const signal = command({
  name: 'signal',
  about: 'Send a signal to an execution or one of its waitpoints.',
  details: 'A repeat with the same --idempotency-key changes nothing.',
  arguments: {
    name: argument('name', 'Name of the signal, such as approved.'),
    execution: { ...text('execution', 'Id of the execution; not with --waitpoint-token-file.'), value: '[execution]' },
  },
  options: {
    waitpoint: text('key', 'Key of the waitpoint of that execution.'),
    waitpointTokenFile: text(
      'file',
      'File with the token of a waitpoint, which names the execution; - is standard input.',
      {
        file: true,
      },
    ),
    ...payloadRules('input', 'Its content'),
    operator: flag('Send it as an operator; otherwise as a person.'),
    from: text('name', 'Who sends it.'),
    idempotencyKey: text('key', 'Default: a fresh one.'),
  },
  examples: [
    ['Approve', `tailrace signal approved 01890a5d-… --input '{"by":"anna"}'`],
    ['Answer a callback with its token', 'tailrace signal paid --waitpoint-token-file token.txt'],
  ],
  async run(session, given) {
    const { name, execution, waitpoint, waitpointTokenFile } = given;
    if ((execution === undefined) === (waitpointTokenFile === undefined)) {
      throw new UsageError('say where to: an execution, or --waitpoint-token-file');
    }
    const target =
      waitpointTokenFile === undefined
        ? { case: 'execution' as const, value: fields({ executionId: execution, waitpointKey: waitpoint }) }
        : {
            case: 'waitpointToken' as const,
            value: (await contentOf(session, waitpointTokenFile)).toString('utf8').trim(),
          };
    const asked = fields({
      namespace: session.namespace,
      target,
      name,
      source: given.operator ? SignalSource.OPERATOR : SignalSource.HUMAN,
      sourceId: given.from,
      payload: await payloadOf(session, given.input, given.inputFile, given.contentType),
      idempotencyKey: given.idempotencyKey ?? randomUUID(),
    });
    const answer = await session.api.engine.signalExecution(asked, session.bounds());
    return await done(
      session,
      SignalExecutionResponseSchema,
      answer,
      `${name}: ${nameOf(SignalEffectSchema, answer.effect)}`,
    );
  },
});
