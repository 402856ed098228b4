/**
 * A sound history, made by hand, in which everything happens that a property speaks of. Tests plant one violation each.
 *
 *     once       created, claimed, completed
 *     reclaimed  its first holder died; a second one completed it, the first was refused, the second repeated himself
 *     given-up   failed for good; redriven as `again`, which succeeded and closed the letter
 *     waiting    scheduled, never ran
 *     late       expired before anybody came
 *     flow       `source` completed and released `after`, which completed; `broken` failed and so `never` was skipped
 *     parent     waited for `child`, and went on with the same attempt
 *
 * What is about waits, limits, budgets and output stands in clean-waits.ts, what is about events in clean-events.ts.
 */
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { JoinKind, JoinState, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type {
  Feed,
  FeedEntry,
  FeedMessage,
  FinalEdge,
  FinalExecution,
  FinalJoin,
  Held,
  History,
  HistoryEvent,
} from '../../support/history/history.js';
import { CONSUMER_STEPS, entryLetters, finalConsumers, followings } from './clean-consumers.js';
import {
  EVENT_LETTERS,
  EVENT_STEPS,
  FINAL_SUBSCRIPTIONS,
  finalEvents,
  GATHERED,
  LETTER_OF_ORDER,
  lastOnes,
  publications,
  REACTIONS,
  subscriptions,
} from './clean-events.js';
import { about, decided, ended, FLOW_MEMBERS, lost, made, moved, type Step, started } from './clean-steps.js';
import { BUDGETS, limits, PLACES, TAILS, waits } from './clean-waits.js';

const { BLOCKED, SCHEDULED, QUEUED, RUNNING, SUSPENDED, WAITING_CHILDREN } = ExecutionState;
const { SUCCEEDED, FAILED, EXPIRED, SKIPPED } = ExecutionState;
const {
  EXECUTION_SUSPENDED,
  EXECUTION_RESUMED,
  EXECUTION_SUCCEEDED,
  EXECUTION_FAILED,
  EXECUTION_EXPIRED,
  EXECUTION_SKIPPED,
  DEAD_LETTER_OPENED,
  DEAD_LETTER_REDRIVING,
  DEAD_LETTER_CLOSED,
  WORKER_REGISTERED,
  FLOW_CREATED,
  FLOW_SETTLED,
  JOIN_SATISFIED,
  JOIN_IMPOSSIBLE,
} = LogEntryKind;

let order = 0;
export const now = () => ({ began: order++, answered: order++ });

export const created = (execution: string): HistoryEvent => ({
  event: 'created',
  execution,
  duplicate: false,
  ...now(),
});

export const claimed = (execution: string, attempt: number, token: bigint, resumed = false): HistoryEvent => ({
  event: 'claimed',
  execution,
  attempt,
  token,
  lease: `lease ${token}`,
  resumed,
  ...now(),
});

export const held = (
  call: Held['call'],
  execution: string,
  token: bigint,
  verdict: Held['verdict'] = 'accepted',
): HistoryEvent => ({ event: 'held', call, execution, token, lease: `lease ${token}`, verdict, ...now() });

const FLOW_STEPS: readonly Step[] = [
  about(FLOW_CREATED, '', { flow: 'flow' }),
  made('source'),
  made('broken'),
  made('after', BLOCKED),
  made('never', BLOCKED),
  started('source', 1),
  ...ended('source', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  decided(JOIN_SATISFIED, 'after'),
  moved('after', BLOCKED, QUEUED),
  started('broken', 1),
  ...ended('broken', 1, EXECUTION_FAILED, FAILED),
  about(DEAD_LETTER_OPENED, 'broken', { letter: 'letter of broken' }),
  decided(JOIN_IMPOSSIBLE, 'never'),
  about(EXECUTION_SKIPPED, 'never', { from: BLOCKED, to: SKIPPED }),
  started('after', 1),
  ...ended('after', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  about(FLOW_SETTLED, '', { flow: 'flow' }),
];

const PARENT_STEPS: readonly Step[] = [
  made('parent'),
  started('parent', 1),
  moved('parent', RUNNING, WAITING_CHILDREN),
  made('child'),
  started('child', 1),
  ...ended('child', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  decided(JOIN_SATISFIED, 'parent'),
  moved('parent', WAITING_CHILDREN, QUEUED),
  started('parent', 1),
  ...ended('parent', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
];

const WAIT_STEPS: readonly Step[] = [
  made('approved'),
  started('approved', 1),
  about(EXECUTION_SUSPENDED, 'approved', { from: RUNNING, to: SUSPENDED }),
  about(EXECUTION_RESUMED, 'approved', { from: SUSPENDED, to: QUEUED }),
  started('approved', 1),
  ...ended('approved', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  made('first'),
  made('second', BLOCKED),
  made('beside'),
  started('first', 1),
  started('beside', 1),
  ...ended('first', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  moved('second', BLOCKED, QUEUED),
  started('second', 1),
  ...ended('second', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  ...ended('beside', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
];

const STEPS: readonly Step[] = [
  made('once'),
  made('reclaimed'),
  made('waiting', SCHEDULED),
  made('late'),
  about(WORKER_REGISTERED, ''),
  started('once', 1),
  ...ended('once', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  started('reclaimed', 1),
  lost('reclaimed', 1),
  started('reclaimed', 2),
  ...ended('reclaimed', 2, EXECUTION_SUCCEEDED, SUCCEEDED),
  made('given-up'),
  started('given-up', 1),
  ...ended('given-up', 1, EXECUTION_FAILED, FAILED),
  about(DEAD_LETTER_OPENED, 'given-up', { letter: 'letter of given-up' }),
  about(EXECUTION_EXPIRED, 'late', { from: QUEUED, to: EXPIRED }),
  about(DEAD_LETTER_OPENED, 'late', { letter: 'letter of late' }),
  about(DEAD_LETTER_REDRIVING, 'given-up', { letter: 'letter of given-up' }),
  made('again'),
  started('again', 1),
  ...ended('again', 1, EXECUTION_SUCCEEDED, SUCCEEDED),
  about(DEAD_LETTER_CLOSED, 'again', { letter: 'letter of given-up' }),
  ...FLOW_STEPS,
  ...PARENT_STEPS,
  ...WAIT_STEPS,
  ...EVENT_STEPS,
  ...CONSUMER_STEPS,
];

export const LOG: readonly FeedEntry[] = STEPS.map((step, i) => ({ ...step, position: BigInt(i + 1) }));
const END = BigInt(LOG.length);

export const isEnd = ({ to }: FeedEntry): boolean => to >= SUCCEEDED;

const messages = (log: readonly FeedEntry[]): FeedMessage[] => [{ upTo: 0n }, { entries: log }, { upTo: END }];

/** Reader `one` in one go, `two` with a cut in the middle, `ends` filtered; all of this log. */
export function feedsOf(log: readonly FeedEntry[]): Feed[] {
  const cut = log[11]?.position ?? 0n;
  const half = (first: boolean) => log.filter(({ position }) => position <= cut === first);
  const resumed = [{ entries: half(true) }, { resumedAfter: cut }, { upTo: cut }, { entries: half(false) }];
  return [
    { reader: 'one', messages: messages(log) },
    { reader: 'two', messages: [{ upTo: 0n }, ...resumed] },
    { reader: 'ends', selects: isEnd, messages: messages(log.filter(isEnd)) },
  ];
}

const execution = (name: string, state: ExecutionState, more: Partial<FinalExecution> = {}): FinalExecution => ({
  execution: name,
  ...{ namespace: 'default', lane: 'default', key: '', ...PLACES[name] },
  state,
  letter: '',
  redriveOf: '',
  reason: EndReason.UNSPECIFIED,
  flow: FLOW_MEMBERS.includes(name) ? 'flow' : '',
  optional: false,
  ...more,
});

const join = (downstream: string, state: JoinState, kind = JoinKind.EDGES): FinalJoin => ({
  ...{ join: `join of ${downstream}`, kind, downstream, state },
  ...{ slots: 1, filled: 1 },
});

const edge = (upstream: string, downstream: string, outcome: SlotOutcome): FinalEdge => ({
  ...{ join: `join of ${downstream}`, upstream, downstream, outcome, late: false },
});

export function cleanHistory(): History {
  return {
    events: [
      created('once'),
      created('reclaimed'),
      created('waiting'),
      created('late'),
      claimed('once', 1, 1n),
      held('renew', 'once', 1n),
      held('complete', 'once', 1n),
      claimed('reclaimed', 1, 2n),
      claimed('reclaimed', 2, 3n),
      held('complete', 'reclaimed', 2n, 'refused'),
      held('complete', 'reclaimed', 3n),
      held('complete', 'reclaimed', 3n, 'duplicate'),
      created('given-up'),
      claimed('given-up', 1, 4n),
      held('fail', 'given-up', 4n),
      created('again'),
      claimed('again', 1, 5n),
      held('complete', 'again', 5n),
      ...FLOW_MEMBERS.map((member) => created(member)),
      claimed('source', 1, 6n),
      held('complete', 'source', 6n),
      claimed('broken', 1, 7n),
      held('fail', 'broken', 7n),
      claimed('after', 1, 8n),
      held('complete', 'after', 8n),
      created('parent'),
      claimed('parent', 1, 10n),
      held('wait', 'parent', 10n),
      created('child'),
      claimed('child', 1, 11n),
      held('complete', 'child', 11n),
      claimed('parent', 1, 12n, true),
      held('complete', 'parent', 10n, 'refused'),
      held('complete', 'parent', 12n),
      ...limits(now),
      created('approved'),
      claimed('approved', 1, 20n),
      held('suspend', 'approved', 20n),
      ...['first', 'second', 'beside'].map((name) => created(name)),
      claimed('approved', 1, 21n, true),
      claimed('first', 1, 22n),
      claimed('beside', 1, 23n),
      ...waits(now),
      held('complete', 'approved', 20n, 'refused'),
      held('complete', 'approved', 21n),
      held('complete', 'first', 22n),
      claimed('second', 1, 24n),
      held('complete', 'second', 24n),
      held('complete', 'beside', 23n),
      ...subscriptions(now),
      ...publications(now),
      ...['order-1', 'order-2', 'order-2-again', 'order-3', 'gathered'].flatMap((name, i) => [
        claimed(name, 1, BigInt(30 + i)),
        held(name === 'order-2' ? 'fail' : 'complete', name, BigInt(30 + i)),
      ]),
      ...lastOnes(now),
      ...followings(now, LOG),
    ],
    feeds: feedsOf(LOG),
    tails: TAILS,
    final: {
      executions: [
        execution('once', SUCCEEDED),
        execution('reclaimed', SUCCEEDED),
        execution('waiting', SCHEDULED),
        execution('late', EXPIRED, { letter: 'letter of late' }),
        execution('given-up', FAILED, { letter: 'letter of given-up' }),
        execution('again', SUCCEEDED, { redriveOf: 'given-up' }),
        execution('source', SUCCEEDED),
        execution('broken', FAILED, { letter: 'letter of broken' }),
        execution('after', SUCCEEDED),
        execution('never', SKIPPED, { reason: EndReason.JOIN_IMPOSSIBLE }),
        execution('parent', SUCCEEDED),
        execution('child', SUCCEEDED),
        ...['approved', 'first', 'second', 'beside'].map((name) => execution(name, SUCCEEDED)),
        ...REACTIONS,
      ],
      letters: [
        { letter: 'letter of given-up', execution: 'given-up', state: 'closed', redriven: true },
        { letter: 'letter of late', execution: 'late', state: 'open', redriven: false },
        { letter: 'letter of broken', execution: 'broken', state: 'open', redriven: false },
        LETTER_OF_ORDER,
      ],
      flows: [{ flow: 'flow', state: FlowState.FAILED, sealed: true, members: new Map() }],
      joins: [
        join('after', JoinState.SATISFIED),
        join('never', JoinState.IMPOSSIBLE),
        join('parent', JoinState.SATISFIED, JoinKind.CHILDREN),
        GATHERED,
      ],
      edges: [edge('source', 'after', SlotOutcome.OK), edge('broken', 'never', SlotOutcome.FAILED)],
      budgets: BUDGETS,
      events: finalEvents(LOG),
      eventLetters: EVENT_LETTERS,
      consumers: finalConsumers(LOG),
      entryLetters: entryLetters(LOG),
      subscriptions: FINAL_SUBSCRIPTIONS,
      retired: [],
    },
  };
}
