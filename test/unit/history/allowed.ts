/** What is rare and right: changes of the sound history after which it is as sound as before. */
import { create } from '@bufbuild/protobuf';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { JoinKind, JoinState } from '../../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { SubscriptionSpecSchema } from '../../../gen/tailrace/v1/subscription_pb.js';
import type { Subscribed } from '../../support/history/event-history.js';
import { wholeFeed } from '../../support/history/feeds.js';
import type { FeedEntry, FinalExecution, FinalStates, HistoryEvent } from '../../support/history/history.js';
import { created, LOG, now } from './clean-history.js';
import { decided, ended, made, moved, started } from './clean-steps.js';
import { also, inFinal, type Plant } from './plants.js';

const { BLOCKED, QUEUED, SUCCEEDED } = ExecutionState;
const { DEAD_LETTER_REOPENED, DEAD_LETTER_REDRIVING, DEAD_LETTER_CLOSED, FLOW_CREATED } = LogEntryKind;
const { EVENT_PUBLISHED, CONSUMER_UPDATED } = LogEntryKind;

const all =
  (...plants: readonly Plant[]): Plant =>
  (clean) =>
    plants.reduce((history, plant) => plant(history), clean);

const step = (kind: LogEntryKind, more: Partial<FeedEntry> = {}) => ({
  ...{ kind, execution: '', attempt: 0, from: 0, to: 0, letter: '', flow: '', join: '' },
  ...more,
});
/** At the end of the log. */
const told =
  (...steps: readonly Omit<FeedEntry, 'position'>[]): Plant =>
  (history) => {
    const log = [...(wholeFeed(history) ?? []), ...steps];
    const entries = log.map((entry, i) => ({ ...entry, position: BigInt(i + 1) }));
    return { ...history, feeds: [{ reader: 'one', messages: [{ upTo: 0n }, { entries }] }] };
  };
const asked = (...events: readonly HistoryEvent[]): Plant => all(...events.map((event) => also(() => event)));

type Rows = 'executions' | 'events' | 'letters' | 'eventLetters' | 'joins' | 'flows';
const there = <K extends Rows>(what: K, ...rows: FinalStates[K][number][]): Plant =>
  inFinal((final) => ({ ...final, [what]: [...final[what], ...rows] }));
const otherwise = <K extends Rows>(
  what: K,
  fits: (row: FinalStates[K][number]) => boolean,
  more: Partial<FinalStates[K][number]>,
): Plant =>
  inFinal((final) => ({
    ...final,
    [what]: final[what].map((row: FinalStates[K][number]) => (fits(row) ? { ...row, ...more } : row)),
  }));

const run = (execution: string, more: Partial<FinalExecution> = {}): FinalExecution => ({
  ...{ execution, namespace: 'default', lane: 'default', key: '', state: SUCCEEDED, letter: '', redriveOf: '' },
  ...{ reason: 0, flow: '', optional: false, hops: 0 },
  ...more,
});
const ran = (execution: string) => [
  started(execution, 1),
  ...ended(execution, 1, LogEntryKind.EXECUTION_SUCCEEDED, SUCCEEDED),
];
const ordering = { key: 'k', blocks: true };
const line = (...names: readonly string[]): Plant =>
  there('executions', ...names.map((name) => run(name, { ordering })));
const joined = (downstream: string): Plant =>
  there('joins', {
    ...{ join: `join of ${downstream}`, kind: JoinKind.EDGES, downstream, state: JoinState.SATISFIED },
    ...{ slots: 1, filled: 1 },
  });

const LOOP = 'letter of looping';
const event = (id: string, more: Partial<FinalStates['events'][number]> = {}, tells = true): Plant =>
  all(
    told(...(tells ? [step(EVENT_PUBLISHED, { published: id })] : [])),
    there('events', {
      ...{ id, type: 'other', namespace: 'default', stream: '', version: 0, flow: '', cause: '', emitter: '', hops: 0 },
      ...{ tags: {}, headers: {}, text: '', contentType: '', position: -1n },
      ...more,
    }),
  );

/** The steps of `told` come behind the log. */
const next = BigInt(LOG.length + 1);

const SENT_ON: Plant = all(
  told(step(DEAD_LETTER_REDRIVING, { letter: LOOP }), made('loop-1'), step(DEAD_LETTER_CLOSED, { letter: LOOP })),
  otherwise('eventLetters', () => true, { state: 'closed' }),
  there('executions', run('loop-1', { state: QUEUED, reaction: { subscription: 'loops', event: 'looping' } })),
);

const orders = (more: object): Subscribed => ({
  ...{ event: 'subscribed', namespace: 'default', name: 'orders', certain: true, ...now() },
  ...more,
});
const PAST = create(SubscriptionSpecSchema, {
  name: 'orders',
  filter: { eventTypes: ['order.placed'] },
  start: StartPosition.EARLIEST,
});

/** Two calls at the same time: `one` is told first, and stands second in line. */
const together = (): HistoryEvent[] => {
  const [began, later] = [now(), now()];
  const call = (execution: string, from: number, to: number) => ({ ...created(execution), began: from, answered: to });
  return [call('one', began.began, later.began), call('other', began.answered, later.answered)];
};

export const ALLOWED: Readonly<Record<string, Plant>> = {
  'a letter that was closed by a redrive is opened again': all(
    told(step(DEAD_LETTER_REOPENED, { letter: 'letter of given-up' })),
    otherwise('letters', ({ letter }) => letter === 'letter of given-up', { state: 'open', redriven: false }),
  ),
  'a flow had an event and no member': all(
    told(step(FLOW_CREATED, { flow: 'eventful' })),
    event('quiet', { flow: 'eventful', position: next + 1n }),
    there('flows', { flow: 'eventful', state: FlowState.SUCCEEDED, sealed: true, members: new Map() }),
  ),
  'all that failed of a flow was redriven outside of it': all(
    inFinal((final) => ({
      ...final,
      executions: final.executions.map((x) => (x.execution === 'never' ? { ...x, optional: true } : x)),
      letters: final.letters.map((x) =>
        x.execution === 'broken' ? { ...x, state: 'closed' as const, redriven: true } : x,
      ),
    })),
    there('executions', run('broken, beside', { redriveOf: 'broken' })),
    told(
      step(DEAD_LETTER_REDRIVING, { letter: 'letter of broken' }),
      made('broken, beside'),
      ...ran('broken, beside'),
      step(DEAD_LETTER_CLOSED, { letter: 'letter of broken' }),
    ),
  ),
  'one waits for its key before it is given an upstream': all(
    told(
      made('keyed', BLOCKED),
      moved('keyed', BLOCKED, QUEUED),
      moved('keyed', QUEUED, BLOCKED),
      decided(LogEntryKind.JOIN_SATISFIED, 'keyed'),
      moved('keyed', BLOCKED, QUEUED),
      ...ran('keyed'),
    ),
    there('executions', run('keyed')),
    joined('keyed'),
  ),
  'an event over the limit is sent on': SENT_ON,
  'and its letter is opened again': all(
    SENT_ON,
    told(step(DEAD_LETTER_REOPENED, { letter: LOOP })),
    otherwise('eventLetters', () => true, { state: 'open' }),
  ),
  'hops begin anew behind it': all(
    SENT_ON,
    event('behind', { cause: 'looping', emitter: 'loop-1', hops: 1, position: next + 3n }),
  ),
  'it is ordered behind later ones': all(
    event('first', { type: 'order.placed', hops: 65, position: next }),
    event('second', { type: 'order.placed', position: next + 1n }),
    there('eventLetters', { letter: 'letter of first', namespace: 'default', event: 'first', state: 'closed' }),
    told(
      step(LogEntryKind.DEAD_LETTER_OPENED, { letter: 'letter of first' }),
      ...[made('of second'), ...ran('of second')],
      step(DEAD_LETTER_REDRIVING, { letter: 'letter of first' }),
      ...[made('of first'), ...ran('of first')],
      step(DEAD_LETTER_CLOSED, { letter: 'letter of first' }),
    ),
    there(
      'executions',
      run('of first', { ordering, reaction: { subscription: 'orders', event: 'first' } }),
      run('of second', { ordering, reaction: { subscription: 'orders', event: 'second' } }),
    ),
  ),
  'a subscription that was deleted goes through the past under its name': all(
    asked(orders({}), orders({ spec: PAST })),
    told(...['order-1', 'order-2', 'order-3'].map((name) => made(`${name}, anew`))),
    there(
      'executions',
      ...[1, 2, 3].map((n) =>
        run(`order-${n}, anew`, {
          state: QUEUED,
          ordering: { key: 's', blocks: true },
          reaction: { subscription: 'orders', event: `placed-${n}` },
        }),
      ),
    ),
  ),
  'one of an ordering key waits for its upstream while another comes': all(
    told(
      made('joined', BLOCKED),
      made('direct'),
      ...ran('direct'),
      decided(LogEntryKind.JOIN_SATISFIED, 'joined'),
      moved('joined', BLOCKED, QUEUED),
      ...ran('joined'),
    ),
    asked(created('joined'), created('direct')),
    line('joined', 'direct'),
    joined('joined'),
  ),
  'two of an ordering key are made at the same time': all(
    told(made('one', BLOCKED), made('other'), ...ran('other'), moved('one', BLOCKED, QUEUED), ...ran('one')),
    asked(...together()),
    line('one', 'other'),
  ),
  'a consumer does not follow another namespace': all(
    told(step(EVENT_PUBLISHED, { published: 'elsewhere', namespace: 'b' })),
    event('elsewhere', { namespace: 'b', position: next }, false),
    inFinal((final) => ({ ...final, consumers: final.consumers.map((x) => ({ ...x, position: next })) })),
  ),
  'a consumer wants more from now on': all(
    told(...[1, 2].map(() => step(CONSUMER_UPDATED, { letter: 'followers' }))),
    inFinal((final) => ({
      ...final,
      consumers: final.consumers.map((x) => ({ ...x, selects: { kinds: [], eventTypes: [] } })),
    })),
  ),
};

/** Not at the same time. */
export const ONE_AFTER_THE_OTHER: Plant = all(
  told(made('one', BLOCKED), made('other'), ...ran('other'), moved('one', BLOCKED, QUEUED), ...ran('one')),
  asked(created('one'), created('other')),
  line('one', 'other'),
);
