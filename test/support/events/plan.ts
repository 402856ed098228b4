/** Random subscriptions, events and answers to them, from dice. */
import type { EmittedEvent, EventSpec } from '../../../gen/tailrace/v1/event_pb.js';
import { DeadHeadPolicy } from '../../../gen/tailrace/v1/execution_pb.js';
import type { KeySource, SubscriptionSpec } from '../../../gen/tailrace/v1/subscription_pb.js';
import { uuidV7 } from '../../../src/runtime/random.js';
import type { Init } from '../by-hand.js';
import type { Chance } from '../chance.js';

/** What is published has level 0; what is emitted, one more than what it answers. */
const LEVELS = 3;
const NAMES = ['placed', 'paid', 'sent'];
const STREAMS = ['', 'orders/1', 'orders/2', 'parcels/1'];
const COLORS = ['red', 'blue', 'green', 'gray'];
const SHOPS = ['here', 'there', 'nowhere'];
const COUNTRIES = ['at', 'de', 'ch', 'it', 7];

export const LANES = ['left', 'right'];

const typeOf = (level: number, name: string) => `${level}.${name}`;
const ALL_TYPES = Array.from({ length: LEVELS }, (_, level) => NAMES.map((name) => typeOf(level, name))).flat();

/** All that says what it wants in some way, and perhaps an order; `n` makes its name its own. */
export function subscription(n: number, dice: Chance): Init<SubscriptionSpec> {
  const some = <T>(percent: number, made: () => T) => (dice.percent(percent) ? made() : undefined);
  const exact = some(60, () => [pick(ALL_TYPES, dice), pick(ALL_TYPES, dice)]);
  const prefix = some(exact ? 20 : 80, () => [pick(['0.', '1.', '2.', '0.p', '1.p'], dice)]);
  const streams = some(20, () => [pick(STREAMS.slice(1), dice)]);
  const streamPrefix = some(20, () => [pick(['orders/', 'parcels/'], dice)]);
  const tags = some(25, () => ({ color: pick(COLORS, dice) }));
  const headers = some(25, () => ({ shop: pick(SHOPS, dice) }));
  const payload = some(25, () => [{ pointer: '/to/country', values: [String(pick(COUNTRIES, dice)), 'nowhere'] }]);
  const order = some(50, () => orderedBy(dice));
  return {
    name: `rule ${n}`,
    type: 'react',
    lane: pick(LANES, dice),
    filter: { eventTypes: exact ?? [], streams: streams ?? [], tags: tags ?? {} },
    eventTypePrefixes: prefix ?? [],
    streamPrefixes: streamPrefix ?? [],
    headers: headers ?? {},
    payloadMatches: payload ?? [],
    // Whatever crashes do to leases, it is given up only where its worker says so.
    retryPolicy: { countLostLeases: false, maxReclaims: 1_000 },
    ...(order && { orderingKey: order, deadHeadPolicy: pick([DeadHeadPolicy.BLOCK, DeadHeadPolicy.SKIP], dice) }),
  };
}

/** Of whatever is published together. */
export const JOINING: Init<SubscriptionSpec> = {
  ...{ name: 'joining', type: 'joined', lane: 'joins', batchJoin: {}, eventTypePrefixes: ['0.'] },
  retryPolicy: { countLostLeases: false, maxReclaims: 1_000 },
};

function orderedBy(dice: Chance): Init<KeySource> {
  const sources: KeySource['source'][] = [
    { case: 'flow', value: true },
    { case: 'stream', value: true },
    { case: 'tag', value: 'color' },
    { case: 'header', value: 'shop' },
    { case: 'pointer', value: '/to/country' },
  ];
  return { source: pick(sources, dice) };
}

/** One call: events of their own or of a group, now and then with a stream that must be where it is not. */
export function publication(flows: readonly string[], dice: Chance): Init<EventSpec>[] {
  const group = dice.percent(30) ? 'together' : '';
  return Array.from({ length: 1 + dice.below(5) }, () => ({
    ...fact(0, dice),
    eventId: dice.percent(50) ? uuidV7() : `event ${uuidV7()}`,
    batchGroup: group,
    flowId: dice.percent(90) ? pick(flows, dice) : '',
    ...(group === '' && dice.percent(5) && { stream: 'orders/1', expectedStreamVersion: 1_000_000n }),
  }));
}

/** What an execution emits that reacts to an event of this type. */
export function emission(type: string, dice: Chance): Init<EmittedEvent>[] {
  const level = Number(type.split('.')[0] ?? 0) + 1;
  if (level >= LEVELS) return [];
  return Array.from({ length: dice.percent(75) ? 0 : 1 + dice.below(2) }, () => fact(level, dice));
}

function fact(level: number, dice: Chance): Init<EmittedEvent> {
  const country = pick(COUNTRIES, dice);
  return {
    type: typeOf(level, pick(NAMES, dice)),
    stream: pick(STREAMS, dice),
    tags: dice.percent(70) ? { color: pick(COLORS, dice) } : {},
    headers: dice.percent(70) ? { shop: pick(SHOPS, dice) } : {},
    payload: {
      contentType: 'application/json',
      body: { case: 'text', value: JSON.stringify({ to: { country } }) },
    },
  };
}

function pick<T>(items: readonly T[], dice: Chance): T {
  return items[dice.below(items.length)] as T;
}
