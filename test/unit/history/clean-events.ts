/**
 * The part of the sound history that is about events.
 *
 *     placed-1   an order, in stream `s`: `orders` reacts, ordered by stream, and emits `paid`; `notes` only takes notice
 *     placed-2   another one: its reaction dies and stops the line, until its redrive succeeds
 *     placed-3   waits behind that one
 *     part-0, 1  a batch: `parts` reacts once to both
 *     looping    has too many events behind it
 *     again      is refused; `late` is subscribed when all is over
 */
import { create } from '@bufbuild/protobuf';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { JoinKind, JoinState } from '../../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { SubscriptionSpecSchema } from '../../../gen/tailrace/v1/subscription_pb.js';
import type {
  Emitted,
  FinalEvent,
  FinalEventLetter,
  FinalSubscription,
  Published,
  Subscribed,
} from '../../support/history/event-history.js';
import type { FeedEntry, FinalExecution, FinalJoin, HistoryEvent, Timed } from '../../support/history/history.js';
import { about, decided, ended, made, moved, type Step, started } from './clean-steps.js';

const { BLOCKED, QUEUED, SUCCEEDED, FAILED } = ExecutionState;
const { EXECUTION_SUCCEEDED, EXECUTION_FAILED, DEAD_LETTER_OPENED, DEAD_LETTER_REDRIVING, DEAD_LETTER_CLOSED } =
  LogEntryKind;

type Now = () => Timed;

const LETTER = 'letter of order-2';
const LOOP = 'letter of looping';

const published = (event: string, emitter = '') => about(LogEntryKind.EVENT_PUBLISHED, emitter, { published: event });
const succeeded = (execution: string) => [
  started(execution, 1),
  ...ended(execution, 1, EXECUTION_SUCCEEDED, SUCCEEDED),
];

export const EVENT_STEPS: readonly Step[] = [
  published('placed-1'),
  made('note-1'),
  published('placed-2'),
  made('note-2'),
  published('placed-3'),
  made('note-3'),
  made('order-1'),
  made('order-2', BLOCKED),
  made('order-3', BLOCKED),
  ...succeeded('order-1'),
  published('paid', 'order-1'),
  made('note-4'),
  moved('order-2', BLOCKED, QUEUED),
  started('order-2', 1),
  ...ended('order-2', 1, EXECUTION_FAILED, FAILED),
  about(DEAD_LETTER_OPENED, 'order-2', { letter: LETTER }),
  about(DEAD_LETTER_REDRIVING, 'order-2', { letter: LETTER }),
  made('order-2-again'),
  ...succeeded('order-2-again'),
  about(DEAD_LETTER_CLOSED, 'order-2-again', { letter: LETTER }),
  moved('order-3', BLOCKED, QUEUED),
  ...succeeded('order-3'),
  published('part-0'),
  published('part-1'),
  made('gathered', BLOCKED),
  decided(LogEntryKind.JOIN_SATISFIED, 'gathered'),
  moved('gathered', BLOCKED, QUEUED),
  ...succeeded('gathered'),
  published('looping'),
  about(DEAD_LETTER_OPENED, '', { letter: LOOP }),
];

export const subscribed = (now: Now, name: string, more: object, certain = true): Subscribed => ({
  ...{ event: 'subscribed', namespace: 'default', name, certain },
  spec: create(SubscriptionSpecSchema, { name, type: name, ...more }),
  ...now(),
});
export const publishing = (now: Now, id: string, verdict: Published['verdict'], more: Partial<Published> = {}) => ({
  ...{ event: 'published' as const, namespace: 'default', id, verdict },
  ...more,
  ...now(),
});
export const emitted = (now: Now, execution: string, ...ids: string[]): Emitted => ({
  ...{ event: 'emitted', execution, ids },
  ...now(),
});

const ORDERS = { filter: { eventTypes: ['order.placed'] }, orderingKey: { source: { case: 'stream', value: true } } };

/** All put before the first event. */
export const subscriptions = (now: Now): HistoryEvent[] => [
  subscribed(now, 'orders', ORDERS),
  subscribed(now, 'notes', { eventTypePrefixes: ['order.'], headers: { shop: 'a' } }),
  subscribed(now, 'parts', { filter: { eventTypes: ['part'] }, batchJoin: {} }),
  subscribed(now, 'loops', { filter: { eventTypes: ['loop'] } }),
];

export const publications = (now: Now): HistoryEvent[] => [
  ...['placed-1', 'placed-2', 'placed-3'].map((id) => publishing(now, id, 'accepted')),
  publishing(now, 'placed-1', 'duplicate', { version: 1 }),
  publishing(now, 'again', 'refused'),
  ...['part-0', 'part-1', 'looping'].map((id) => publishing(now, id, 'accepted')),
];

export const lastOnes = (now: Now): HistoryEvent[] => [
  emitted(now, 'order-1', 'paid'),
  emitted(now, 'order-1', 'paid'),
  subscribed(now, 'late', { filter: { eventTypes: ['order.placed'] } }),
];

export function finalEvents(log: readonly FeedEntry[]): FinalEvent[] {
  const fact = (id: string, type: string, more: Partial<FinalEvent> = {}): FinalEvent => ({
    ...{ id, type, namespace: 'default', stream: '', version: 0, flow: '', cause: '', emitter: '', hops: 0 },
    ...{ tags: {}, headers: { shop: 'a' }, text: '', contentType: '' },
    position: log.find((entry) => entry.published === id)?.position ?? -1n,
    ...more,
  });
  const placed = (version: number) => fact(`placed-${version}`, 'order.placed', { stream: 's', version });
  const part = (index: number) => fact(`part-${index}`, 'part', { batch: { id: 'batch', index, size: 2 } });
  return [
    ...[1, 2, 3].map(placed),
    fact('paid', 'order.paid', { cause: 'placed-1', emitter: 'order-1', hops: 1 }),
    ...[part(0), part(1), fact('looping', 'loop', { hops: 65 })],
  ];
}

export const EVENT_LETTERS: readonly FinalEventLetter[] = [
  { letter: LOOP, namespace: 'default', event: 'looping', state: 'open' },
];

export const FINAL_SUBSCRIPTIONS: readonly FinalSubscription[] = ['orders', 'notes', 'parts', 'loops', 'late'].map(
  (name) => ({ namespace: 'default', name, halted: false, behind: false }),
);

export const LETTER_OF_ORDER = { letter: LETTER, execution: 'order-2', state: 'closed', redriven: true } as const;

export const GATHERED: FinalJoin = {
  ...{ join: 'join of gathered', kind: JoinKind.BATCH, downstream: 'gathered', state: JoinState.SATISFIED },
  ...{ slots: 2, filled: 2, subscription: 'parts', batch: 'batch' },
};

const reacting = (execution: string, subscription: string, event: string, more: Partial<FinalExecution> = {}) => ({
  ...{ execution, namespace: 'default', lane: 'default', key: '', state: SUCCEEDED, letter: '', redriveOf: '' },
  ...{ reason: EndReason.UNSPECIFIED, flow: '', optional: false, hops: 0, reaction: { subscription, event } },
  ...more,
});
const ordering = { key: 's', blocks: true };
const order = (n: number, more: Partial<FinalExecution> = {}) =>
  reacting(`order-${n}`, 'orders', `placed-${n}`, { ordering, ...more });

export const REACTIONS: readonly FinalExecution[] = [
  ...[1, 2, 3].map((n) => reacting(`note-${n}`, 'notes', `placed-${n}`, { state: QUEUED })),
  reacting('note-4', 'notes', 'paid', { state: QUEUED, hops: 1 }),
  order(1),
  order(2, { state: FAILED, letter: LETTER }),
  { ...order(2), execution: 'order-2-again', redriveOf: 'order-2' },
  order(3),
  reacting('gathered', 'parts', ''),
];
