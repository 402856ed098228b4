/** Dead letters closed, opened again, and deleted. */
import { randomUUID } from 'node:crypto';
import {
  type DeadLetter,
  DeadLetterResolution,
  DeadLetterResolutionSchema,
  DeadLetterSchema,
} from '../../../gen/tailrace/v1/dead_letter_pb.js';
import {
  PurgeDeadLettersResponseSchema,
  ResolveDeadLettersResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { fromItemError } from '../../client/errors.js';
import { confirmed, YES } from '../asking.js';
import { command, type Rule } from '../command.js';
import { nameOf } from '../enum-words.js';
import { type Told, tellCallError } from '../errors.js';
import { EXIT } from '../exit-codes.js';
import { fields } from '../fields.js';
import { messageDocument } from '../json.js';
import { ProgressLine } from '../progress.js';
import { EXPECTED, NOTE } from '../recurring-options.js';
import { argument, argumentList, choice, flag, past, required } from '../rules.js';
import { done, present } from '../showing.js';
import { UsageError } from '../usage-error.js';
import { LETTERS, letterFilter } from './letter-filter.js';

const as: Rule<DeadLetterResolution | undefined> = choice(DeadLetterResolutionSchema, 'How it was dealt with.');

export const resolveDeadLetters = command({
  name: 'resolve',
  about: 'Close dead letters without running anything.',
  details:
    'A key that one blocks is released, and entries parked behind one are delivered. Ends with 1 if one was refused.',
  arguments: { letters: argumentList('dead-letter', 'Ids of 1 to 1000 dead letters.') },
  options: {
    as: { ...as, choices: (as.choices ?? []).filter((word) => word !== 'redriven') },
    ...NOTE,
  },
  examples: [
    ['Nothing to be done', 'tailrace dead-letters resolve 01890a5d-… --as ignored --note "the customer is gone"'],
    [
      'A whole group',
      'tailrace dead-letters list --fingerprint 7f3a… --all --json | jq -r ".items[].deadLetterId" | xargs tailrace dead-letters resolve --as ignored',
    ],
  ],
  async run(session, { letters, as: resolution, note }) {
    const { output } = session;
    if (resolution === DeadLetterResolution.REDRIVEN)
      throw new UsageError('that is for the engine to say: tailrace dead-letters redrive');
    const asked = fields({
      namespace: session.namespace,
      requestId: randomUUID(),
      deadLetters: letters.map((deadLetterId) => ({ deadLetterId })),
      resolution: resolution ?? DeadLetterResolution.IGNORED,
      note,
    });
    const answer = await session.api.deadLetters.resolveDeadLetters(asked, session.bounds());
    if (output.json) await output.write(messageDocument(ResolveDeadLettersResponseSchema, answer));
    let worst: Told | undefined;
    for (const [index, { result }] of answer.results.entries()) {
      if (result.case === 'error') {
        worst = tellCallError(fromItemError(result.value), session.url);
        if (!output.json) output.note(`${letters[index]}: ${worst.text}`);
      } else if (!output.json) await output.write(sentence(present(result.value)));
    }
    return worst && (letters.length === 1 ? worst.exitCode : EXIT.refused);
  },
});

function sentence({ deadLetterId, resolution }: DeadLetter): string {
  return `${deadLetterId} is closed: ${nameOf(DeadLetterResolutionSchema, resolution)}`;
}

export const reopenDeadLetter = command({
  name: 'reopen',
  about: 'Open a closed dead letter again.',
  arguments: { letter: argument('dead-letter', 'Id of the dead letter.') },
  options: { ...EXPECTED, ...NOTE },
  examples: [['It was closed by mistake', 'tailrace dead-letters reopen 01890a5d-…']],
  async run(session, { letter, ...how }) {
    const asked = fields({ namespace: session.namespace, deadLetterId: letter, ...how });
    const made = present((await session.api.deadLetters.reopenDeadLetter(asked, session.bounds())).deadLetter);
    return await done(session, DeadLetterSchema, made, `${made.deadLetterId} is open again`);
  },
});

const BATCH = 1_000;

export const purgeDeadLetters = command({
  name: 'purge',
  about: 'Delete closed dead letters now instead of at the end of their retention.',
  details: 'Open and redriving ones are never deleted.',
  options: {
    closedBefore: required(past('Only those closed before: a time, or how long ago; at least 1h.')),
    ...LETTERS,
    dryRun: flag('Only count them.'),
    ...NOTE,
    ...YES,
  },
  examples: [['What was closed more than a week ago', 'tailrace dead-letters purge --closed-before 7d --dry-run']],
  async run(session, { closedBefore, dryRun, note, yes, ...given }) {
    const { output, signal, api } = session;
    const question = `Delete dead letters closed before ${output.time(closedBefore)} for good?`;
    if (!dryRun && !(await confirmed(session, yes, question))) return EXIT.refused;
    const asked = fields({
      namespace: session.namespace,
      filter: letterFilter(given),
      closedBeforeTime: closedBefore,
      maxCount: dryRun ? 10 * BATCH : BATCH,
      dryRun,
      note,
    });
    const progress = new ProgressLine(output);
    let answer = await api.deadLetters.purgeDeadLetters(asked, session.bounds());
    for (let purged = answer.purgedCount; answer.more && !dryRun && !signal.aborted; purged = answer.purgedCount) {
      progress.tell(undefined, `${purged} deleted`);
      const next = await api.deadLetters.purgeDeadLetters(asked, session.bounds());
      answer = { ...next, purgedCount: purged + next.purgedCount };
    }
    progress.end();
    const count = `${answer.purgedCount}${answer.more ? ' or more' : ''}`;
    return await done(
      session,
      PurgeDeadLettersResponseSchema,
      answer,
      dryRun ? `${count} would be deleted` : `${count} deleted`,
    );
  },
});
