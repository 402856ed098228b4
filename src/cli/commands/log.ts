/** `tailrace log …` */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type LogEntry, LogEntryKindSchema, LogEntrySchema, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { command, type Given, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { FOLLOW, followed } from '../following.js';
import { listed, PAGES } from '../pages.js';
import { CREATED } from '../recurring-options.js';
import { choices, flag, pairs, text, texts } from '../rules.js';
import { timeText } from '../spans.js';
import type { Column } from '../table.js';
import { entryLine } from './entry-line.js';

const FILTER = {
  kind: choices(
    LogEntryKindSchema,
    'Only entries of this kind; * at its end stands for the rest, such as dead-letter-*.',
  ),
  flow: text('flow', 'Only what concerns this flow.'),
  execution: text('execution', 'Only what concerns this execution.'),
  eventType: texts('type', 'Of events only those of this type.'),
  lane: texts('lane', 'Only what concerns this lane.', { names: 'lanes' }),
  type: texts('type', 'Only executions of this type.'),
  stream: texts('stream', 'Of events only those of this stream.'),
  tag: pairs('Only what has this tag.'),
};

function filterOf(given: Given<typeof FILTER>) {
  return fields({
    kinds: [...given.kind],
    flowId: given.flow,
    executionId: given.execution,
    eventTypes: [...given.eventType],
    lanes: [...given.lane],
    types: [...given.type],
    streams: [...given.stream],
    tags: { ...given.tag },
  });
}

const tail = command({
  name: 'tail',
  about: 'Follow the log: what is recorded from now on, or from an earlier place.',
  details: 'Resumes by itself after a lost connection, without a gap and without a repeat.',
  options: { ...FILTER, payloads: flag('With payloads and results (seen with --json).'), ...FOLLOW },
  examples: [
    ['Everything that gives up', 'tailrace log tail --kind dead-letter-opened'],
    ['From the beginning, for a program', "tailrace log tail --from earliest --json | jq -r '.kind'"],
  ],
  run: (session, given) => {
    const asked = { namespace: session.namespace, filter: filterOf(given), omitPayloads: !given.payloads };
    return followed<typeof LogEntrySchema>(
      session,
      given,
      LogEntrySchema,
      (start, signal) => session.api.completions.watchLog({ ...asked, ...start }, { signal }),
      (entry) => entryLine(entry, session.output),
    );
  },
});

const COLUMNS: readonly Column<LogEntry>[] = [
  {
    title: 'recorded',
    of: ({ createTime }, output) => (createTime && output.live ? output.time(createTime) : exact(createTime)),
  },
  { title: 'kind', of: ({ kind }) => nameOf(LogEntryKindSchema, kind) },
  { title: 'type', flexible: true, spare: true, of: ({ type }) => type },
  { title: 'of', of: ({ executionId, subject, flowId, lane }) => executionId || subject || flowId || lane },
  { title: 'state', state: true, spare: true, of: ({ toState }) => nameOf(ExecutionStateSchema, toState) },
  { title: 'lane', flexible: true, spare: true, of: ({ lane }) => lane },
  { title: 'by', flexible: true, spare: true, of: ({ actor }) => actor },
  { title: 'reason', flexible: true, spare: true, of: ({ reason }) => reason },
];

function exact(time: LogEntry['createTime']): string {
  return time ? timeText(timestampMs(time)) : '';
}

const list = command({
  name: 'list',
  about: 'Page through the log, newest first.',
  options: {
    ...FILTER,
    oldestFirst: flag('Oldest first.'),
    from: text('place', 'Begin at earliest, latest, or a cursor.'),
    ...CREATED,
    ...PAGES,
  },
  examples: [
    ['Who has changed what today', "tailrace log list --kind 'admin-*,lane-*' --since 24h --all"],
    ['The life of one execution', 'tailrace log list --execution 01890a5d-… --oldest-first'],
  ],
  run: (session, given) =>
    listed(session, given, LogEntrySchema, COLUMNS, async (page) => {
      const { from } = given;
      const start = from === 'earliest' ? StartPosition.EARLIEST : from === 'latest' ? StartPosition.LATEST : undefined;
      const asked = fields({
        namespace: session.namespace,
        filter: filterOf(given),
        oldestFirst: given.oldestFirst,
        start,
        cursor: start === undefined ? from : undefined,
        minCreateTime: given.since,
        maxCreateTime: given.until,
        ...page,
      });
      const { entries: items, nextPageToken } = await session.api.admin.listLogEntries(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

export const log = group('log', 'Follow or page through the log.', [tail, list]);
