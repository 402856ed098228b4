/** Dead letters, looked at and counted. */
import { type Attempt, AttemptOutcomeSchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import {
  type DeadLetter,
  DeadLetterResolutionSchema,
  DeadLetterSchema,
  DeadLetterStateSchema,
} from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReasonSchema } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import {
  CountDeadLettersResponseSchema,
  GetDeadLetterResponseSchema,
  type GetDeadLetterStatsResponse,
  GetDeadLetterStatsResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import {
  type DeadLetterBucket,
  type DeadLetterGroup,
  DeadLetterGroupSchema,
} from '../../../gen/tailrace/v1/redrive_pb.js';
import { command } from '../command.js';
import { detailsOf } from '../details.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { messageDocument } from '../json.js';
import type { Output } from '../output.js';
import { listed, PAGES } from '../pages.js';
import { argument, flag, whole } from '../rules.js';
import { done, present } from '../showing.js';
import { type Column, tableOf } from '../table.js';
import { WATCH, watching } from '../watching.js';
import { LETTERS, letterFilter, STATES } from './letter-filter.js';

export const LETTER_COLUMNS: readonly Column<DeadLetter>[] = [
  { title: 'dead letter', of: ({ deadLetterId }) => deadLetterId },
  { title: 'state', state: true, of: ({ state }) => nameOf(DeadLetterStateSchema, state) },
  { title: 'closed as', spare: true, of: ({ resolution }) => nameOf(DeadLetterResolutionSchema, resolution) },
  { title: 'of', flexible: true, of: (letter) => subjectOf(letter) },
  { title: 'lane', flexible: true, spare: true, of: ({ lane }) => lane },
  { title: 'reason', of: ({ reason }) => nameOf(DeadLetterReasonSchema, reason) },
  { title: 'attempts', right: true, of: ({ attemptCount }) => attemptCount },
  { title: 'opened', of: ({ createTime }, output) => output.time(createTime) },
  { title: 'message', flexible: true, of: ({ failure }) => failure?.message ?? '' },
];

export function subjectOf({ subject, type, eventType }: DeadLetter): string {
  const is = subject?.subject;
  if (is?.case === 'executionId') return type;
  if (is?.case === 'eventId') return `event ${eventType || is.value}`;
  return is?.case === 'consumerEntry' ? `entry of ${is.value.consumer}` : '';
}

export const listDeadLetters = command({
  name: 'list',
  about: 'List dead letters, newest first.',
  options: { ...LETTERS, ...STATES, payloads: flag('With inputs up to 64 KiB each (seen with --json).'), ...PAGES },
  examples: [
    ['What is open in a lane', 'tailrace dead-letters list --state open --lane emails'],
    ['Every one of a group, for a program', 'tailrace dead-letters list --fingerprint 7f3a… --all --json'],
  ],
  run: (session, given) =>
    listed(session, given, DeadLetterSchema, LETTER_COLUMNS, async (page) => {
      const filter = letterFilter(given);
      const asked = { namespace: session.namespace, filter, includePayloads: given.payloads, ...page };
      const { deadLetters: items, nextPageToken } = await session.api.deadLetters.listDeadLetters(
        asked,
        session.bounds(),
      );
      return { items, nextPageToken };
    }),
});

const GROUP_COLUMNS: readonly Column<DeadLetterGroup>[] = [
  { title: 'fingerprint', of: ({ fingerprint }) => fingerprint },
  { title: 'count', right: true, of: ({ count, countCapped }) => `${count}${countCapped ? '+' : ''}` },
  { title: 'type', flexible: true, of: ({ type }) => type },
  { title: 'reason', of: ({ reason }) => nameOf(DeadLetterReasonSchema, reason) },
  { title: 'first', of: ({ firstCreateTime }, output) => output.time(firstCreateTime) },
  { title: 'last', of: ({ lastCreateTime }, output) => output.time(lastCreateTime) },
  { title: 'message', flexible: true, of: ({ message }) => message },
];

export const listGroups = command({
  name: 'groups',
  about: 'List dead letters grouped by what went wrong, most numerous first; open ones unless asked otherwise.',
  options: { ...LETTERS, ...STATES, ...PAGES },
  examples: [['What goes wrong most since yesterday', 'tailrace dead-letters groups --since 24h']],
  run: (session, given) =>
    listed(session, given, DeadLetterGroupSchema, GROUP_COLUMNS, async (page) => {
      const asked = { namespace: session.namespace, filter: letterFilter(given), ...page };
      const { groups: items, nextPageToken } = await session.api.deadLetters.listDeadLetterGroups(
        asked,
        session.bounds(),
      );
      return { items, nextPageToken };
    }),
});

const ATTEMPT_COLUMNS: readonly Column<Attempt>[] = [
  { title: 'attempt', of: ({ executionId, attemptNumber }) => `${executionId} ${attemptNumber}` },
  { title: 'outcome', state: true, of: ({ outcome }) => nameOf(AttemptOutcomeSchema, outcome) },
  { title: 'worker', flexible: true, of: ({ worker }) => worker?.name ?? '' },
  { title: 'started', of: ({ startTime }, output) => output.time(startTime) },
  { title: 'ran for', right: true, of: ({ runDuration }, output) => output.span(runDuration) },
  { title: 'failure', flexible: true, spare: true, of: ({ failure }) => failure?.message ?? '' },
];

export const showDeadLetter = command({
  name: 'show',
  about: 'Show one dead letter with its input, its failure and every attempt.',
  arguments: { letter: argument('dead-letter', 'Id of the dead letter.') },
  options: WATCH,
  examples: [['One of them', 'tailrace dead-letters show 01890a5d-…']],
  run: (session, { letter, watch }) =>
    watching(session, watch, async () => {
      const { output, namespace, api } = session;
      const answer = await api.deadLetters.getDeadLetter({ namespace, deadLetterId: letter }, session.bounds());
      if (output.json) return messageDocument(GetDeadLetterResponseSchema, answer);
      const attempts = answer.attempts.length > 0 ? `\n\n${tableOf(ATTEMPT_COLUMNS, answer.attempts, output)}` : '';
      return detailsOf(DeadLetterSchema, present(answer.deadLetter), output) + attempts;
    }),
});

export const countDeadLetters = command({
  name: 'count',
  about: 'Count dead letters up to a cap; cheap enough for a badge.',
  options: { ...LETTERS, ...STATES, most: whole('count', 'Stop counting here. Default 1000.', 1, 10_000) },
  examples: [['Open ones', 'tailrace dead-letters count --state open']],
  async run(session, { most, ...given }) {
    const asked = fields({ namespace: session.namespace, filter: letterFilter(given), maxCount: most });
    const answer = await session.api.deadLetters.countDeadLetters(asked, session.bounds());
    return await done(session, CountDeadLettersResponseSchema, answer, `${answer.count}${answer.capped ? '+' : ''}`);
  },
});

export const deadLetterStats = command({
  name: 'stats',
  about: 'Count dead letters by state, reason, lane, type, age and resolution.',
  options: { ...LETTERS, ...STATES, ...WATCH },
  examples: [['Of one consumer', 'tailrace dead-letters stats --consumer invoices']],
  run: (session, given) =>
    watching(session, given.watch, async () => {
      const asked = { namespace: session.namespace, filter: letterFilter(given) };
      const answer = await session.api.deadLetters.getDeadLetterStats(asked, session.bounds());
      return session.output.json
        ? messageDocument(GetDeadLetterStatsResponseSchema, answer)
        : report(answer, session.output);
    }),
});

const BUCKETS: readonly Column<DeadLetterBucket & { readonly by: string }>[] = [
  { title: 'by', of: ({ by }) => by },
  { title: 'value', flexible: true, of: ({ value }) => value },
  { title: 'count', right: true, of: ({ count }) => count },
];

function report(answer: GetDeadLetterStatsResponse, output: Output): string {
  const { openCount, redrivingCount, closedCount, oldestOpenTime } = answer;
  const buckets = (['reasons', 'lanes', 'types', 'ages', 'resolutions'] as const).flatMap((by) =>
    answer[by].map((bucket) => ({ ...bucket, by })),
  );
  return [
    `${openCount} open, ${redrivingCount} redriving, ${closedCount} closed and kept`,
    `last hour: ${answer.openedLastHourCount} opened, ${answer.closedLastHourCount} closed`,
    `last day: ${answer.openedLastDayCount} opened, ${answer.closedLastDayCount} closed`,
    ...(oldestOpenTime ? [`the oldest open one was opened ${output.time(oldestOpenTime)}`] : []),
    ...(buckets.length > 0 ? ['', tableOf(BUCKETS, buckets, output)] : []),
  ].join('\n');
}
