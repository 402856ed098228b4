/** Flows, looked at from outside. */
import { EndReasonSchema, ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import {
  type FailedFlow,
  FailedFlowSchema,
  type Flow,
  FlowSchema,
  FlowStateSchema,
} from '../../../gen/tailrace/v1/flow_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { CREATED } from '../recurring-options.js';
import { argument, choices, pairs, past, text } from '../rules.js';
import { shown } from '../showing.js';
import type { Column } from '../table.js';
import { WATCH } from '../watching.js';

const COLUMNS: readonly Column<Flow>[] = [
  { title: 'flow', of: ({ flowId }) => flowId },
  { title: 'name', flexible: true, spare: true, of: ({ name }) => name },
  { title: 'state', state: true, of: ({ state }) => nameOf(FlowStateSchema, state) },
  { title: 'settled', of: ({ settled }) => (settled ? 'yes' : 'no') },
  { title: 'executions', flexible: true, of: (flow) => countsOf(flow) },
  { title: 'events', right: true, of: ({ eventCount }) => eventCount },
  { title: 'created', of: ({ createTime }, output) => output.time(createTime) },
  { title: 'ended', spare: true, of: ({ endTime }, output) => output.time(endTime) },
];

export function countsOf({ executions }: Flow): string {
  return executions.map(({ state, count }) => `${count} ${nameOf(ExecutionStateSchema, state)}`).join(', ');
}

export const listFlows = command({
  name: 'list',
  about: 'List flows, newest first.',
  options: {
    state: choices(FlowStateSchema, 'Only flows in this state.'),
    name: text('name', 'Only flows of this name.'),
    tag: pairs('Only flows with this tag.'),
    ...CREATED,
    ...PAGES,
  },
  examples: [['What is going on', 'tailrace flows list --state active --watch']],
  run: (session, given) =>
    listed(session, given, FlowSchema, COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        states: [...given.state],
        name: given.name,
        tags: { ...given.tag },
        minCreateTime: given.since,
        maxCreateTime: given.until,
        ...page,
      });
      const { flows: items, nextPageToken } = await session.api.admin.listFlows(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

export const getFlow = command({
  name: 'get',
  about: 'Show one flow as it stands.',
  arguments: { flow: argument('flow', 'Id of the flow.') },
  options: WATCH,
  examples: [['Until Ctrl-C', 'tailrace flows get 01890a5d-… --watch']],
  run: (session, { flow, watch }) => {
    const asked = { namespace: session.namespace, flowId: flow };
    return shown(session, FlowSchema, async () => (await session.api.admin.getFlow(asked, session.bounds())).flow, {
      watch,
    });
  },
});

const FAILED_COLUMNS: readonly Column<FailedFlow>[] = [
  { title: 'flow', of: ({ flowId }) => flowId },
  { title: 'name', flexible: true, spare: true, of: ({ name }) => name },
  { title: 'state', state: true, of: ({ state }) => nameOf(FlowStateSchema, state) },
  { title: 'failed', right: true, of: ({ failedCount }) => failedCount },
  { title: 'open', right: true, of: ({ liveCount }) => liveCount },
  { title: 'dead letters', right: true, of: ({ openDeadLetterCount }) => openDeadLetterCount },
  { title: 'last failure', of: ({ lastFailure }, output) => output.time(lastFailure?.endTime) },
  { title: 'type', flexible: true, of: ({ lastFailure }) => lastFailure?.type ?? '' },
  { title: 'reason', of: ({ lastFailure }) => nameOf(EndReasonSchema, lastFailure?.reason ?? 0) },
  { title: 'message', flexible: true, of: ({ lastFailure }) => lastFailure?.failure?.message ?? '' },
];

export const listFailedFlows = command({
  name: 'failed',
  about: 'List flows with failed required members that were not redriven, last failure first.',
  options: {
    since: past('Only those that failed since: a time, or how long ago, such as 2h.'),
    until: past('Only those that failed before it.'),
    tag: pairs('Only flows with this tag.'),
    ...PAGES,
  },
  examples: [['Of the last day', 'tailrace flows failed --since 24h']],
  run: (session, given) =>
    listed(session, given, FailedFlowSchema, FAILED_COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        minFailureTime: given.since,
        maxFailureTime: given.until,
        tags: { ...given.tag },
        ...page,
      });
      const { flows: items, nextPageToken } = await session.api.admin.listFailedFlows(asked, session.bounds());
      return { items, nextPageToken };
    }),
});
