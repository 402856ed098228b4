/** Watches where events are: each is told once, in the order of its stream, and so is the end of all that they start. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import type { Event } from '../../../gen/tailrace/v1/event_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type LogEntry, LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { pause } from '../../../src/runtime/clock.js';
import { seconds } from '../../support/by-hand.js';
import { Chance } from '../../support/chance.js';
import { EventsByHand } from '../../support/events-by-hand.js';
import { eventually } from '../../support/eventually.js';
import type { FeedEntry } from '../../support/history/history.js';
import type { RecordedReader } from '../../support/history/reader.js';
import { Recorded } from '../../support/history/recorded.js';

const { SUCCEEDED, FAILED, CANCELED, EXPIRED, SKIPPED } = ExecutionState;
const kinds = [LogEntryKind.EVENT_PUBLISHED];
const WRITERS = 50;
const CALLS = 4;
const STREAMS = ['', 'one', 'two'];

let recorded: Recorded;
let hand: EventsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new EventsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const eventIn = ({ body }: LogEntry): Event[] => (body.case === 'event' ? [body.value] : []);
const eventsOf = ({ entries }: RecordedReader) => entries.flatMap(eventIn);

test('proof 2: fifty write at once, and every watcher is told of each event once, in the order of its stream', async () => {
  const other = await recorded.another();
  const told = new Map<string, Event>();
  const isEvent = (fits: (event: Event) => boolean) => (entry: FeedEntry) => {
    const event = told.get(entry.published ?? '');
    return event !== undefined && fits(event);
  };
  const watches = {
    everything: { filter: { kinds }, fits: () => true },
    'one stream': { filter: { kinds, streams: ['one'] }, fits: ({ stream }: Event) => stream === 'one' },
    'some types': { filter: { eventTypes: ['type 1', 'type 2'] }, fits: ({ type }: Event) => type !== 'type 0' },
    'a tag': { filter: { kinds, tags: { even: 'yes' } }, fits: ({ tags }: Event) => tags['even'] === 'yes' },
  };
  const readers = await Promise.all(
    Object.entries(watches).map(([name, { filter, fits }]) =>
      recorded.reader({ name, filter, selects: isEvent(fits) }),
    ),
  );
  const { id: flowId } = await hand.flow({}, { open: true });
  const dice = new Chance(7);
  const write = async (writer: number, own: Chance) => {
    const clients = writer % 2 === 0 ? recorded.clients : other.clients;
    for (let call = 0; call < CALLS; call++) {
      await pause(own.below(10));
      const events = Array.from({ length: 1 + own.below(3) }, (_, i) => ({
        flowId,
        type: `type ${own.below(3)}`,
        stream: STREAMS[own.below(STREAMS.length)] ?? '',
        tags: writer % 2 === 0 ? { even: 'yes' } : {},
        batchGroup: i > 0 || own.percent(50) ? 'together' : '',
      }));
      await new EventsByHand(clients).publish(...events);
      if (call === 1) readers[writer % readers.length]?.cut();
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer, dice.fork())));

  const { events } = await recorded.clients.admin.listEvents({ pageSize: 1_000 });
  for (const event of events) told.set(event.eventId, event);
  expect(events.length).toBeGreaterThanOrEqual(WRITERS * CALLS);
  for (const [i, { fits }] of Object.values(watches).entries()) {
    const reader = readers[i] as RecordedReader;
    const due = events.filter(fits);
    await reader.until((one) => eventsOf(one).length >= due.length);
    const seen = eventsOf(reader);
    expect(seen.map(({ eventId }) => eventId).sort()).toEqual(due.map(({ eventId }) => eventId).sort());
    for (const stream of STREAMS.slice(1)) {
      const versions = seen
        .filter((event) => event.stream === stream)
        .map(({ streamVersion }) => Number(streamVersion));
      expect(versions).toEqual([...versions].sort((a, b) => a - b));
    }
  }
  // What the others were told, the reader of the whole log may be told later.
  await recorded.log.until((log) => eventsOf(log).length >= events.length);
  for (const stream of STREAMS.slice(1)) {
    const read = (await recorded.clients.engine.readStream({ stream, pageSize: 1_000 })).events;
    const inLog = eventsOf(recorded.log).filter((event) => event.stream === stream);
    expect(inLog.map(({ eventId }) => eventId)).toEqual(read.map(({ eventId }) => eventId));
    expect(read.map(({ streamVersion }) => Number(streamVersion))).toEqual(read.map((_, i) => i + 1));
  }
});

test('proof 16: the end of whatever an event starts is told to whoever selects it, however it ends', async () => {
  const tags = { watched: 'yes' };
  const lanes = ['succeeds', 'fails', 'is canceled', 'expires', 'is skipped', 'one of two fails'];
  const due = new Map<string, ExecutionState>();
  const own = ({ execution, to }: FeedEntry) => due.has(execution) && to >= SUCCEEDED;
  const byTag = await recorded.reader({ name: 'by tag', completions: { tags }, selects: own });
  const byLane = await recorded.reader({ name: 'by lane', completions: { lanes }, selects: own });
  const isRare = ({ to }: FeedEntry) => to === EXPIRED || to === SKIPPED;
  const byOutcome = await recorded.reader({
    name: 'by outcome',
    completions: { tags, outcomes: [EXPIRED, SKIPPED] },
    selects: (entry) => own(entry) && isRare(entry),
  });

  const filter = { eventTypes: ['watched'] };
  for (const name of ['succeeds', 'fails', 'is canceled', 'one of two fails']) await hand.subscribe(name, { filter });
  await hand.subscribe('expires', { filter, ttl: seconds(0.1) });
  // What joins a batch has no event whose tags it could have.
  await hand.subscribe('is skipped', { filter: { eventTypes: ['answer'] }, batchJoin: {}, tags });
  await hand.publish(...[1, 2].map(() => ({ type: 'watched', tags, batchGroup: 'both' })));
  const claim = (name: string) => hand.claim({ lanes: [{ lane: name }], maxExecutions: 2 });
  for (const one of await claim('succeeds')) await hand.completeWith(one);
  for (const one of await claim('fails')) await hand.fail(one, FailureClass.PERMANENT);
  for (const { executionId } of await hand.reactionsOf('is canceled')) await hand.cancel(executionId);
  const [first, second] = await claim('one of two fails');
  if (first === undefined || second === undefined) throw new Error('two events start two');
  await hand.completeWith(first, { type: 'answer' });
  await hand.fail(second, FailureClass.PERMANENT);

  await eventually(async () => (await hand.reactionsOf('is skipped')).length > 0);
  const ends = { succeeds: SUCCEEDED, fails: FAILED, 'is canceled': CANCELED, expires: EXPIRED, 'is skipped': SKIPPED };
  for (const [name, state] of Object.entries(ends)) {
    for (const { executionId } of await hand.reactionsOf(name)) due.set(executionId, state);
  }
  due.set(first.executionId, SUCCEEDED).set(second.executionId, FAILED);
  expect(due.size).toBe(11);
  for (const reader of [byTag, byLane]) {
    await reader.until(({ completed }) => completed.length >= due.size);
    const told = reader.completed.map(({ executionId, outcome }) => [executionId, outcome?.state] as const);
    expect(told.sort()).toEqual([...due].sort());
  }
  await byOutcome.until(({ completed }) => completed.length >= 3);
  expect(byOutcome.completed.map(({ lane }) => lane).sort()).toEqual(['expires', 'expires', 'is skipped']);
});
