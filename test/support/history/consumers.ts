/**
 * What a history proves about consumers: one owner per part and epoch, cursors that move without gap or overlap, order, and
 * every selected entry handled, once but for what fails or comes again on request.
 *
 * Only what was recorded proves anything: of a consumer that an operator has reset, or whose members moved it unseen, less is
 * said or nothing.
 */
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { EntriesCommitted, EntriesDelivered, EntryFailed, FinalConsumer, OfPart } from './consumer-history.js';
import { wholeFeed } from './feeds.js';
import { groupBy } from './grouping.js';
import type { FeedEntry, History } from './history.js';

type Accepted = EntriesDelivered | EntriesCommitted | EntryFailed;

/** Under one epoch one owner is listened to, and none under an epoch before one that was seen. */
export function partsHaveOneOwner(history: History): string[] {
  return [...groupBy(accepted(history), partOf)].flatMap(([part, calls]) => {
    const found: string[] = [];
    for (const [epoch, under] of groupBy(calls, (call) => String(call.epoch))) {
      const owners = new Set(under.map(({ owner }) => owner));
      if (owners.size > 1) found.push(`${part} has owners ${[...owners].join(' and ')} under epoch ${epoch}`);
    }
    const inOrder = [...calls].sort((a, b) => a.answered - b.answered);
    for (const call of calls) {
      const newer = inOrder.find(({ answered, epoch }) => answered < call.began && epoch > call.epoch);
      if (newer) found.push(`${part}: ${call.owner} was listened to under epoch ${call.epoch}, after ${newer.epoch}`);
    }
    return found;
  });
}

/** Each move of a cursor begins where the one before it ended. */
export function commitsAreContiguous(history: History): string[] {
  const moves = [...groupBy(movesOf(history), partOf)];
  return moves.flatMap(([part, all]) => {
    const certain = all
      .filter(({ certain }) => certain)
      .sort((a, b) => Number(a.to - b.to) || Number((a.from ?? -1n) - (b.from ?? -1n)));
    const doubts = all.some(({ certain }) => !certain);
    let at: bigint | undefined;
    return certain.flatMap(({ from, to }) => {
      const before = at;
      at = to;
      if (before === undefined || from === undefined || from === before) return [];
      if (from < before) return [`${part} was moved from ${from} to ${to}, and stood at ${before}`];
      return doubts ? [] : [`${part} was moved from ${from} to ${to}, and nobody moved it there from ${before}`];
    });
  });
}

/** In the order of the log, each in one part; what lies behind the cursor comes only where it is said to come again. */
export function entriesComeInOrder(history: History): string[] {
  const found: string[] = [];
  const moves = groupBy(movesOf(history), partOf);
  const reopened = new Set((wholeFeed(history) ?? []).filter(isReopening).map(({ letter }) => letter));
  for (const delivered of deliveries(history)) {
    const part = partOf(delivered);
    const done = (moves.get(part) ?? []).filter(({ answered, certain }) => certain && answered < delivered.began);
    let last = delivered.from;
    for (const { to } of done) if (to > last) last = to;
    for (const { position, letter } of delivered.entries) {
      if (letter !== '') {
        const closed = done.some(({ letters }) => letters.includes(letter)) && !reopened.has(letter);
        if (position > delivered.from) found.push(`${part}: ${position} came again from ahead of ${delivered.from}`);
        if (closed) found.push(`${part}: ${position} came again after its letter was closed`);
        continue;
      }
      if (position <= last) found.push(`${part}: ${position} came after ${last}`);
      if (position > delivered.to) found.push(`${part}: ${position} came in a range that ends at ${delivered.to}`);
      last = position;
    }
  }
  const byEntry = groupBy(positionsOf(history), ({ entry }) => entry);
  for (const [entry, places] of byEntry) {
    const parts = new Set(places.map(({ part }) => part));
    if (parts.size > 1) found.push(`${entry} came in parts ${[...parts].join(' and ')}`);
  }
  return found;
}

/** Up to where a consumer stands, everything it selects was delivered and committed, or was parked. */
export function selectedIsHandled(history: History): string[] {
  const whole = wholeFeed(history);
  if (whole === undefined) return [];
  const types = new Map(history.final.events.map(({ id, type }) => [id, type]));
  const recorded = groupBy(deliveries(history), ({ consumer }) => consumer);
  return history.final.consumers.flatMap((consumer) => {
    const { consumer: name, position: upTo, fromStart, selects, generation } = consumer;
    const own = recorded.get(name)?.filter((delivered) => delivered.generation === generation);
    if (!own || !fromStart || !selects) return [];
    const [namespace = '', ownName] = name.split(/\/(.*)/);
    const isOwn = ({ kind, letter }: FeedEntry) => kind === LogEntryKind.CONSUMER_UPDATED && letter === ownName;
    if (whole.filter(isOwn).length > 1) return []; // what it selected before is not known
    const isThere = (entry: FeedEntry) => entry.position <= upTo && (entry.namespace ?? namespace) === namespace;
    const handled = handledOf(history, consumer, own);
    return whole
      .filter((entry) => isThere(entry) && isSelected(selects, entry, types) && !handled.has(entry.position))
      .map(({ position }) => `${name} stands at ${upTo}, and nobody has handled ${position}`);
  });
}

/** What was given to somebody who then moved the cursor beyond it, or whose move was not answered; and what was parked. */
function handledOf(history: History, { consumer, generation }: FinalConsumer, own: readonly EntriesDelivered[]) {
  const handled = new Set<bigint>();
  const moves = groupBy(movesOf(history), partOf);
  for (const delivered of own) {
    const after = (moves.get(partOf(delivered)) ?? []).filter(
      ({ epoch, answered }) => epoch === delivered.epoch && answered > delivered.answered,
    );
    for (const { position, letter } of delivered.entries) {
      const closed = letter !== '' && after.some(({ letters }) => letters.includes(letter));
      // What was parked was not handled by that.
      const passed = after.some(({ from, to }) => to > position || (to === position && from !== undefined));
      if (closed || passed) handled.add(position);
    }
  }
  for (const letter of history.final.entryLetters) {
    if (letter.consumer === consumer && letter.generation === generation) handled.add(letter.position);
  }
  return handled;
}

function isSelected(
  { kinds, eventTypes }: NonNullable<FinalConsumer['selects']>,
  { kind, published = '' }: FeedEntry,
  types: ReadonlyMap<string, string>,
): boolean {
  const wanted = kinds.length === 0 || kinds.includes(kind);
  if (eventTypes.length === 0) return wanted;
  if (kind !== LogEntryKind.EVENT_PUBLISHED) return kinds.includes(kind);
  return wanted && eventTypes.includes(types.get(published) ?? '');
}

/** A cursor went from here to there; from nobody knows where, when an entry was parked. */
interface Moved extends OfPart {
  readonly from: bigint | undefined;
  readonly to: bigint;
  readonly letters: readonly string[];
  /** Whether it did, and when its caller knew. */
  readonly certain: boolean;
  readonly answered: number;
}

function movesOf(history: History): Moved[] {
  const resets = resetIn(history);
  return history.events.flatMap((event): Moved[] => {
    if (event.event === 'committed' && !resets.has(event.consumer)) {
      // The first call may be one whose answer was lost.
      return event.verdict === 'duplicate' ? [] : [{ ...event, certain: event.verdict === 'accepted' }];
    }
    if (event.event !== 'entry failed' || event.letter !== '' || resets.has(event.consumer)) return [];
    const { position: to, parked, verdict } = event;
    const certain = verdict === 'accepted';
    return parked || !certain ? [{ ...event, from: undefined, to, letters: [], certain }] : [];
  });
}

function accepted({ events }: History): Accepted[] {
  return events.flatMap((event): Accepted[] => {
    if (event.event === 'delivered') return [event];
    if (event.event === 'committed' || event.event === 'entry failed')
      return event.verdict === 'accepted' ? [event] : [];
    return [];
  });
}

function deliveries(history: History): EntriesDelivered[] {
  const resets = resetIn(history);
  return history.events.flatMap((event) => (event.event === 'delivered' && !resets.has(event.consumer) ? [event] : []));
}

function positionsOf(history: History) {
  return deliveries(history).flatMap(({ consumer, generation, part, entries }) =>
    entries.map(({ position }) => ({ entry: `${consumer}, generation ${generation}: ${position}`, part })),
  );
}

/** Consumers that were. */
function resetIn({ events }: History): Set<string> {
  return new Set(events.flatMap((event) => (event.event === 'consumer reset' ? [event.consumer] : [])));
}

function isReopening({ kind }: FeedEntry): boolean {
  return kind === LogEntryKind.DEAD_LETTER_REOPENED;
}

function partOf({ consumer, generation, part }: OfPart): string {
  return `${consumer}, generation ${generation}, part ${part}`;
}
