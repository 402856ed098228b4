/** What a flow is made of: members, edges, joins. */
import { type Execution, ExecutionSchema } from '../../../gen/tailrace/v1/execution_pb.js';
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type Edge, EdgeDirectionSchema, EdgeSchema } from '../../../gen/tailrace/v1/flow_pb.js';
import {
  type Join,
  JoinKindSchema,
  JoinModeSchema,
  JoinSchema,
  JoinStateSchema,
  SlotOutcomeSchema,
} from '../../../gen/tailrace/v1/join_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { argument, choice, choices, text } from '../rules.js';
import type { Column } from '../table.js';
import { UsageError } from '../usage-error.js';
import { EXECUTION_COLUMNS } from './executions-read.js';

const MEMBER_COLUMNS: readonly Column<Execution>[] = [
  ...EXECUTION_COLUMNS,
  { title: 'optional', spare: true, of: ({ optionalInFlow }) => (optionalInFlow ? 'yes' : '') },
];

export const listFlowMembers = command({
  name: 'members',
  about: 'List the members of a flow, oldest first.',
  arguments: { flow: argument('flow', 'Id of the flow.') },
  options: { state: choices(ExecutionStateSchema, 'Only members in this state.'), ...PAGES },
  examples: [['What failed in it', 'tailrace flows members 01890a5d-… --state failed']],
  run: (session, given) =>
    listed(session, given, ExecutionSchema, MEMBER_COLUMNS, async (page) => {
      const asked = { namespace: session.namespace, flowId: given.flow, states: [...given.state], ...page };
      const { members: items, nextPageToken } = await session.api.admin.listFlowMembers(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

const EDGE_COLUMNS: readonly Column<Edge>[] = [
  { title: 'upstream', of: ({ upstreamExecutionId }) => upstreamExecutionId },
  { title: 'downstream', of: ({ downstreamExecutionId }) => downstreamExecutionId },
  { title: 'name', flexible: true, spare: true, of: ({ name }) => name },
  { title: 'optional', spare: true, of: ({ optional }) => (optional ? 'yes' : '') },
  { title: 'outcome', state: true, of: ({ outcome }) => nameOf(SlotOutcomeSchema, outcome) },
  { title: 'late', spare: true, of: ({ late }) => (late ? 'yes' : '') },
];

export const listEdges = command({
  name: 'edges',
  about: 'List the edges of a flow, or those around one execution.',
  arguments: { flow: { ...text('flow', 'Id of the flow.'), value: '[flow]' } },
  options: {
    execution: text('execution', 'Those around this execution.'),
    direction: choice(EdgeDirectionSchema, 'Which of them, seen from the execution. Default both.'),
    ...PAGES,
  },
  examples: [['What an execution waits for', 'tailrace flows edges --execution 01890a5d-… --direction upstream']],
  async run(session, given) {
    if ((given.flow === undefined) === (given.execution === undefined))
      throw new UsageError('say a flow, or --execution');
    return await listed(session, given, EdgeSchema, EDGE_COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        flowId: given.flow,
        executionId: given.execution,
        direction: given.direction,
        ...page,
      });
      const { edges: items, nextPageToken } = await session.api.admin.listEdges(asked, session.bounds());
      return { items, nextPageToken };
    });
  },
});

const JOIN_COLUMNS: readonly Column<Join>[] = [
  { title: 'join', of: ({ joinId }) => joinId },
  { title: 'kind', of: ({ kind }) => nameOf(JoinKindSchema, kind) },
  { title: 'mode', of: ({ policy }) => nameOf(JoinModeSchema, policy?.mode ?? 0) },
  { title: 'state', state: true, of: ({ state }) => nameOf(JoinStateSchema, state) },
  { title: 'ok', right: true, of: ({ okCount, slotCount }) => `${okCount}/${slotCount}` },
  { title: 'failed', right: true, of: ({ failedCount }) => failedCount },
  { title: 'skipped', right: true, of: ({ skippedCount }) => skippedCount },
  { title: 'downstream', spare: true, of: ({ downstreamExecutionId }) => downstreamExecutionId },
  { title: 'subscription', flexible: true, spare: true, of: ({ subscription }) => subscription },
  {
    title: 'expires',
    spare: true,
    of: ({ expireTime, decideTime }, output) => (decideTime ? '' : output.time(expireTime)),
  },
];

export const listJoins = command({
  name: 'joins',
  about: 'List joins of a flow, an execution or a subscription, newest first.',
  arguments: { flow: { ...text('flow', 'Id of a flow.'), value: '[flow]' } },
  options: {
    execution: text('execution', 'Those that this execution waits for.'),
    subscription: text('name', 'Those of this subscription.', { names: 'subscriptions' }),
    state: choices(JoinStateSchema, 'Only joins in this state.'),
    kind: choices(JoinKindSchema, 'Only joins of this kind.'),
    ...PAGES,
  },
  examples: [['Batches that are not complete', 'tailrace flows joins --subscription daily-report --state open']],
  run: (session, given) =>
    listed(session, given, JoinSchema, JOIN_COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        flowId: given.flow,
        executionId: given.execution,
        subscription: given.subscription,
        states: [...given.state],
        kinds: [...given.kind],
        ...page,
      });
      const { joins: items, nextPageToken } = await session.api.admin.listJoins(asked, session.bounds());
      return { items, nextPageToken };
    }),
});
