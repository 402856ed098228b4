/** `tailrace dead-letters redrive`: one of them. */
import { randomUUID } from 'node:crypto';
import { RedriveDeadLetterResponseSchema } from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { command } from '../command.js';
import { fields } from '../fields.js';
import { payloadOf, payloadRules } from '../input.js';
import { EXPECTED, NOTE } from '../recurring-options.js';
import { argument, flag, future, text } from '../rules.js';
import { done } from '../showing.js';
import { UsageError } from '../usage-error.js';

export const redriveDeadLetter = command({
  name: 'redrive',
  about: 'Run what gave up again, and print the id of the new execution.',
  details: 'The dead letter is REDRIVING until that has ended, then CLOSED, or OPEN again.',
  arguments: { letter: argument('dead-letter', 'Id of the dead letter.') },
  options: {
    ...payloadRules('input', 'Input in place of the original one'),
    patch: text('json', 'JSON merge patch on the original input.'),
    detached: flag('Outside its flow.'),
    runAt: future('Not before this time: RFC 3339, or from now, such as +10m.'),
    lane: text('lane', 'Into this lane instead.', { names: 'lanes' }),
    ...EXPECTED,
    ...NOTE,
  },
  examples: [
    ['As it was', 'tailrace dead-letters redrive 01890a5d-…'],
    ['With one field changed', `tailrace dead-letters redrive 01890a5d-… --patch '{"region":"eu"}' --note "moved"`],
  ],
  async run(session, given) {
    const { letter, patch } = given;
    const input = await payloadOf(session, given.input, given.inputFile, given.contentType);
    if (input && patch !== undefined) throw new UsageError('--input and --patch contradict each other');
    const asked = fields({
      namespace: session.namespace,
      requestId: randomUUID(),
      deadLetterId: letter,
      expectedVersion: given.expectedVersion,
      input,
      inputPatch: await payloadOf(session, patch, undefined),
      detached: given.detached,
      runTime: given.runAt,
      lane: given.lane,
      note: given.note,
    });
    const answer = await session.api.deadLetters.redriveDeadLetter(asked, session.bounds());
    if (answer.downstreamExecutionIds.length > 0) {
      session.output.note(`made anew downstream: ${answer.downstreamExecutionIds.join(', ')}`);
    }
    const sentence = answer.executionId || `${letter} is offered to its consumer again`;
    return await done(session, RedriveDeadLetterResponseSchema, answer, sentence);
  },
});
