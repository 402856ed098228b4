/** Events and subscriptions that say no more than they must; and one of too many hops, behind which no execution stands. */
import { only } from './by-hand.js';
import { EventsByHand } from './events-by-hand.js';
import type { Clients } from './tailrace.js';

export interface BareEvents {
  readonly events: readonly string[];
  readonly streams: readonly string[];
  readonly subscriptions: readonly string[];
}

const MOST_HOPS = 64;

/** Adds the executions that they start to those that were made. */
export async function makeBareEvents(clients: Clients, made: string[]): Promise<BareEvents> {
  const hand = new EventsByHand(clients);
  const filter = { eventTypes: ['bare'] };
  await hand.subscribe('bare', { filter });
  await hand.subscribe('bare in order', { filter, orderingKey: { source: { case: 'flow', value: true } } });
  await hand.subscribe('bare joins', { filter, batchJoin: {} });
  const { eventId } = only(await hand.publish({ type: 'bare' }));
  const streamed = only(await hand.publish({ type: 'other', stream: 'bare' }));
  await hand.publish({ type: 'bare', batchGroup: 'bare' });
  const hops = Array.from({ length: MOST_HOPS + 2 }, (_, i) => ({
    type: 'hop',
    eventId: `hop ${i}`,
    ...(i > 0 && { causeEventId: `hop ${i - 1}` }),
  }));
  const last = (await hand.publish(...hops)).at(-1);
  for (const lane of ['bare', 'bare in order']) {
    made.push(...(await hand.reactionsOf(lane)).map(({ executionId }) => executionId));
  }
  return {
    events: [eventId, streamed.eventId, last?.eventId ?? ''],
    streams: ['bare'],
    subscriptions: ['bare', 'bare in order', 'bare joins'],
  };
}
