/** Violations of what the checker says of events, subscriptions and ordering keys. */
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { FinalEvent } from '../../support/history/event-history.js';
import type { FinalExecution } from '../../support/history/history.js';
import { emitted, publishing, subscribed } from './clean-events.js';
import { now } from './clean-history.js';
import { about, also, inFinal, inLog, type Plant, sooner, started, twice } from './plants.js';

const isPublished = (id: string) => (entry: { readonly published?: string }) => entry.published === id;

const inEvents = (change: (events: readonly FinalEvent[]) => readonly FinalEvent[]): Plant =>
  inFinal((final) => ({ ...final, events: change(final.events) }));
const changed = (id: string, more: Partial<FinalEvent>): Plant =>
  inEvents((events) => events.map((event) => (event.id === id ? { ...event, ...more } : event)));
const without = (id: string): Plant => inEvents((events) => events.filter((event) => event.id !== id));

const inRuns = (change: (runs: readonly FinalExecution[]) => readonly FinalExecution[]): Plant =>
  inFinal((final) => ({ ...final, executions: change(final.executions) }));
const lacking = (execution: string): Plant => inRuns((runs) => runs.filter((run) => run.execution !== execution));
const reacting = (execution: string, reaction: FinalExecution['reaction']): Plant =>
  inRuns((runs) => runs.map((run) => (run.execution === execution && reaction ? { ...run, reaction } : run)));
const copied = (execution: string, more: Partial<FinalExecution> = {}): Plant =>
  inRuns((runs) =>
    runs.flatMap((run) => (run.execution === execution ? [run, { ...run, execution: 'another', ...more }] : [run])),
  );

/** No violation: what two subscriptions start at the same time stands in line either way. */
export const MADE_TOGETHER: Plant = (clean) =>
  inLog((log) =>
    sooner(log, about('order-3', LogEntryKind.EXECUTION_CREATED), about('order-2', LogEntryKind.EXECUTION_CREATED)),
  )(reacting('order-2', { subscription: 'others', event: 'placed-2' })(clean));

export const PLANTED_EVENTS: Readonly<Record<string, Readonly<Record<string, Plant>>>> = {
  'events are conserved': {
    'an accepted event is gone': without('placed-2'),
    'an event is there twice': inEvents((events) => [...events, ...events.slice(0, 1)]),
    'an id is accepted twice': also(() => publishing(now, 'placed-1', 'accepted')),
    'a refused event is there': (clean) =>
      inEvents((events) => [...events, { ...(events[0] as FinalEvent), id: 'again', stream: '', version: 0 }])(clean),
    'a repeat is told another version': also(() => publishing(now, 'placed-1', 'duplicate', { version: 2 })),
    'a repeat is told another place': also(() => publishing(now, 'placed-1', 'duplicate', { position: 1n })),
    'the log does not tell of it': inLog((log) => log.filter((entry) => !isPublished('looping')(entry))),
    'the log tells of it twice': inLog(twice(isPublished('looping'))),
    'hops are not counted': changed('paid', { hops: 0 }),
    'an event stands before its cause': changed('paid', { position: 1n }),
    'a batch has a hole': changed('part-1', { batch: { id: 'batch', index: 0, size: 2 } }),
    'a batch has two sizes': changed('part-1', { batch: { id: 'batch', index: 1, size: 3 } }),
  },
  'a stream has no gaps': {
    'a version is left out': changed('placed-3', { version: 4 }),
    'a version is given twice': changed('placed-3', { version: 2 }),
    'versions do not follow the log': changed('placed-3', { position: 0n }),
  },
  'emissions are made once': {
    'what was emitted is gone': without('paid'),
    'it is made twice': inEvents((events) => [
      ...events,
      ...events.filter(({ id }) => id === 'paid').map((event) => ({ ...event, id: 'paid again' })),
    ]),
    'a repeat makes others': also(() => emitted(now, 'order-1', 'paid again')),
    'it names another cause': changed('paid', { cause: 'placed-2' }),
    'it is made by a completion that nobody was told of': (clean) => {
      const { events, ...others } = clean;
      return { ...others, events: events.filter(({ event }) => event !== 'emitted') };
    },
  },
  'a subscription reacts once': {
    'it does not react': lacking('note-2'),
    'it does not react to what was emitted': lacking('note-4'),
    'it reacts twice': copied('note-2'),
    'it reacts to what it does not want': copied('note-2', { reaction: { subscription: 'notes', event: 'looping' } }),
    'it reacts to what has too many hops': copied('note-2', { reaction: { subscription: 'loops', event: 'looping' } }),
    'it reacts to what was there before it': copied('note-2', {
      reaction: { subscription: 'late', event: 'placed-1' },
    }),
    'it does not react to the past though it was asked to': also(() =>
      subscribed(now, 'early', { filter: { eventTypes: ['part'] }, start: 1 }),
    ),
    'it reacts to nothing': copied('note-2', { reaction: { subscription: 'notes', event: 'nothing' } }),
    'nobody subscribed': copied('note-2', { reaction: { subscription: 'nobody', event: 'placed-1' } }),
    'a batch has two joins': inFinal((final) => ({ ...final, joins: [...final.joins, ...final.joins.slice(-1)] })),
    'a batch has no join': inFinal((final) => ({ ...final, joins: final.joins.slice(0, -1) })),
  },
  'an ordering key keeps its order': {
    'two run at once': inLog((log) =>
      sooner(log, about('order-2', started), about('order-1', LogEntryKind.EXECUTION_SUCCEEDED)),
    ),
    'one runs before another that was there first': inLog((log) =>
      sooner(log, about('order-2', LogEntryKind.EXECUTION_CREATED), about('order-1', LogEntryKind.EXECUTION_CREATED)),
    ),
    'one runs before another that was there before its event': reacting('order-2', {
      subscription: 'others',
      event: 'paid',
    }),
    'they are made in another order than their events': changed('placed-3', { position: 0n }),
    'one runs past a dead head': inLog((log) =>
      sooner(log, about('order-3', started), about('order-2-again', LogEntryKind.DEAD_LETTER_CLOSED)),
    ),
  },
};
