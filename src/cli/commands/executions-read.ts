/** Executions and their attempts, looked at. */
import {
  type Attempt,
  AttemptKindSchema,
  AttemptOutcomeSchema,
  AttemptSchema,
} from '../../../gen/tailrace/v1/attempt_pb.js';
import { type Execution, ExecutionSchema } from '../../../gen/tailrace/v1/execution_pb.js';
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { command } from '../command.js';
import { nameOf } from '../enum-words.js';
import { fields } from '../fields.js';
import { listed, PAGES } from '../pages.js';
import { CREATED } from '../recurring-options.js';
import { argument, choices, flag, pairs, past, text, texts } from '../rules.js';
import { shown } from '../showing.js';
import type { Column } from '../table.js';
import { UsageError } from '../usage-error.js';
import { WATCH } from '../watching.js';

export const EXECUTION_COLUMNS: readonly Column<Execution>[] = [
  { title: 'execution', of: ({ executionId }) => executionId },
  { title: 'type', flexible: true, of: ({ type }) => type },
  { title: 'lane', flexible: true, of: ({ lane }) => lane },
  { title: 'state', state: true, of: ({ state }) => nameOf(ExecutionStateSchema, state) },
  { title: 'attempts', right: true, of: ({ attemptCount }) => attemptCount },
  { title: 'created', of: ({ createTime }, output) => output.time(createTime) },
  { title: 'run at', spare: true, of: (is, output) => (is.startTime || is.outcome ? '' : output.time(is.runTime)) },
  { title: 'ended', spare: true, of: ({ outcome }, output) => output.time(outcome?.endTime) },
  {
    title: 'last failure',
    flexible: true,
    spare: true,
    of: ({ outcome, lastFailure }) => (outcome?.failure ?? lastFailure)?.message ?? '',
  },
];

export const listExecutions = command({
  name: 'list',
  about: 'List executions, newest first.',
  options: {
    state: choices(ExecutionStateSchema, 'Only those in this state.'),
    lane: texts('lane', 'Only those of this lane.', { names: 'lanes' }),
    type: texts('type', 'Only those of this type.'),
    flow: text('flow', 'Only members of this flow.'),
    tag: pairs('Only those with this tag.'),
    worker: text('name', 'Only those that this worker holds or has ended.', { names: 'workers' }),
    subscription: text('name', 'Only those that this subscription has made.', { names: 'subscriptions' }),
    parent: text('execution', 'Only the children of this one.'),
    ...CREATED,
    endedSince: past('Only those that ended since.'),
    endedUntil: past('Only those that ended before.'),
    payloads: flag('With inputs and results up to 64 KiB each (seen with --json).'),
    ...PAGES,
  },
  examples: [
    [
      'What runs in a lane now, looked at every 2 seconds',
      'tailrace executions list --lane emails --state running --watch',
    ],
    [
      'All that failed in the last hour, for a program',
      'tailrace executions list --state failed --ended-since 1h --all --json',
    ],
  ],
  run: (session, given) =>
    listed(session, given, ExecutionSchema, EXECUTION_COLUMNS, async (page) => {
      const filter = fields({
        states: [...given.state],
        lanes: [...given.lane],
        types: [...given.type],
        flowId: given.flow,
        tags: { ...given.tag },
        workerName: given.worker,
        subscription: given.subscription,
        parentExecutionId: given.parent,
        minCreateTime: given.since,
        maxCreateTime: given.until,
        minEndTime: given.endedSince,
        maxEndTime: given.endedUntil,
      });
      const asked = { namespace: session.namespace, filter, includePayloads: given.payloads, ...page };
      const { executions: items, nextPageToken } = await session.api.admin.listExecutions(asked, session.bounds());
      return { items, nextPageToken };
    }),
});

export const getExecution = command({
  name: 'get',
  about: 'Show one execution with its input and result.',
  arguments: { execution: argument('execution', 'Id of the execution.') },
  options: WATCH,
  examples: [['Its result, for a program', "tailrace executions get 01890a5d-… --json | jq '.outcome.result'"]],
  run: (session, { execution, watch }) =>
    shown(
      session,
      ExecutionSchema,
      async () => {
        const asked = { namespace: session.namespace, executionId: execution };
        return (await session.api.admin.getExecution(asked, session.bounds())).execution;
      },
      { watch },
    ),
});

const ATTEMPT_COLUMNS: readonly Column<Attempt>[] = [
  { title: 'execution', of: ({ executionId }) => executionId },
  { title: 'no', right: true, of: ({ attemptNumber }) => attemptNumber },
  { title: 'kind', of: ({ kind }) => nameOf(AttemptKindSchema, kind) },
  { title: 'outcome', state: true, of: ({ outcome }) => nameOf(AttemptOutcomeSchema, outcome) || 'RUNNING' },
  { title: 'worker', flexible: true, of: ({ worker }) => worker?.name ?? '' },
  { title: 'started', of: ({ startTime }, output) => output.time(startTime) },
  { title: 'queued for', right: true, of: ({ queueDuration }, output) => output.span(queueDuration) },
  { title: 'ran for', right: true, of: ({ runDuration }, output) => output.span(runDuration) },
  { title: 'failure', flexible: true, spare: true, of: ({ failure }) => failure?.message ?? '' },
];

export const listAttempts = command({
  name: 'attempts',
  about: 'List attempts, ended and open: of one execution by number, else the newest execution first.',
  arguments: { execution: { ...text('execution', 'Id of an execution.'), value: '[execution]' } },
  options: {
    flow: text('flow', 'Those of the members of this flow.'),
    lane: text('lane', 'Those in this lane.', { names: 'lanes' }),
    type: text('type', 'Those of executions of this type.'),
    outcome: choices(AttemptOutcomeSchema, 'Only those with this outcome.'),
    since: past('Only those started since: a time, or how long ago, such as 2h.'),
    until: past('Only those started before it.'),
    ...PAGES,
  },
  examples: [
    ['Every attempt of one execution', 'tailrace executions attempts 01890a5d-…'],
    [
      'What ran into its timeout in a lane today',
      'tailrace executions attempts --lane emails --outcome timed-out --since 24h',
    ],
  ],
  async run(session, given) {
    const { execution, flow, lane, type } = given;
    if ([execution, flow, lane, type].every((subject) => subject === undefined)) {
      throw new UsageError('say of what: an execution, --flow, --lane or --type');
    }
    return await listed(session, given, AttemptSchema, ATTEMPT_COLUMNS, async (page) => {
      const asked = fields({
        namespace: session.namespace,
        executionId: execution,
        flowId: flow,
        lane,
        type,
        outcomes: [...given.outcome],
        minStartTime: given.since,
        maxStartTime: given.until,
        ...page,
      });
      const { attempts: items, nextPageToken } = await session.api.admin.listAttempts(asked, session.bounds());
      return { items, nextPageToken };
    });
  },
});
