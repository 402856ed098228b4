/** `tailrace suspensions …` */
import {
  type Suspension,
  SuspensionReasonSchema,
  SuspensionSchema,
  SuspensionTimeoutBehaviorSchema,
} from '../../../gen/tailrace/v1/signal_pb.js';
import { command, group } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { choices, flag, past, text, texts } from '../rules.js';
import type { Column } from '../table.js';

const COLUMNS: readonly Column<Suspension>[] = [
  { title: 'execution', of: ({ executionId }) => executionId },
  { title: 'no', right: true, of: ({ suspensionNumber }) => suspensionNumber },
  { title: 'reason', of: ({ reason }) => nameOf(SuspensionReasonSchema, reason) },
  { title: 'waits for', flexible: true, of: ({ condition }) => conditionOf(condition) },
  { title: 'parked', of: ({ suspendTime }, output) => output.time(suspendTime) },
  { title: 'timeout', spare: true, of: ({ timeoutTime }, output) => output.time(timeoutTime) },
  {
    title: 'then',
    spare: true,
    of: ({ timeoutTime, timeoutBehavior: then }) => (timeoutTime ? nameOf(SuspensionTimeoutBehaviorSchema, then) : ''),
  },
  { title: 'escalated', spare: true, of: ({ escalated }) => (escalated ? 'yes' : '') },
  { title: 'note', flexible: true, spare: true, of: ({ note }) => note },
];

/** In short; --json has all of it. */
function conditionOf(is: Suspension['condition']): string {
  const of = is?.condition;
  if (of?.case === 'signal') return `signal ${of.value.name || of.value.waitpointKey}`;
  if (of?.case === 'allOf') return of.value.members.map(conditionOf).join(' and ');
  if (of?.case === 'count')
    return `${of.value.count} of ${of.value.among.map(({ name, waitpointKey }) => name || waitpointKey).join(', ')}`;
  return of?.case === 'operatorOnly' ? 'an operator' : of?.case === 'timeoutOnly' ? 'its timeout' : '';
}

const list = command({
  name: 'list',
  about: 'List parked executions, longest parked first.',
  options: {
    reason: choices(SuspensionReasonSchema, 'Only those parked for this reason.'),
    escalated: flag('Only those whose timeout has called for a person.'),
    lane: texts('lane', 'Only those of this lane.', { names: 'lanes' }),
    type: texts('type', 'Only those of this type.'),
    flow: text('flow', 'Only members of this flow.'),
    before: past('Only those parked before: a time, or how long ago, such as 2h.'),
    ...PAGES,
  },
  examples: [
    ['What has waited for an approval for more than a day', 'tailrace suspensions list --reason approval --before 24h'],
  ],
  run: (session, given) =>
    listed(session, given, SuspensionSchema, COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        reasons: [...given.reason],
        escalatedOnly: given.escalated,
        lanes: [...given.lane],
        types: [...given.type],
        flowId: given.flow,
        maxSuspendTime: given.before,
        ...page,
      });
      const { suspensions: items, nextPageToken } = await session.api.admin.listSuspendedExecutions(
        asked,
        session.bounds(),
      );
      return { items, nextPageToken };
    }),
});

export const suspensions = group('suspensions', 'Look at executions that are parked.', [list]);
