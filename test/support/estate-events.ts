/** The part of an estate that is about events and subscriptions; in lanes of its own. */
import type { Estate } from './estate.js';
import { eventually } from './eventually.js';
import type { Clients } from './tailrace.js';

type Events = Pick<Estate, 'event' | 'subscription' | 'reaction'>;

/** Two of each that is listed; and a batch whose join is open. */
export async function makeEvents(clients: Clients, namespace: string, mark: string, secret: string): Promise<Events> {
  const { engine, admin } = clients;
  const [lane, subscription, type] = [`events-${mark}`, `subscription-${mark}`, `happened-${mark}`];
  const filter = { eventTypes: [type] };
  const tags = { secret };
  const put = (name: string, more: object = {}) =>
    admin.putSubscription({ namespace, subscription: { name, type: `type-${mark}`, lane, filter, tags, ...more } });
  await put(subscription);
  await put(`second-${mark}`, { orderingKey: { source: { case: 'stream', value: true } } });
  await put(`joining-${mark}`, { batchJoin: {} });

  const payload = {
    contentType: 'application/json',
    body: { case: 'text' as const, value: JSON.stringify({ secret }) },
  };
  const stream = `stream-${mark}`;
  const { results } = await engine.publishEvents({
    namespace,
    events: [1, 2].map((n) => ({
      ...{ eventId: `event-${n}-${mark}`, type, payload, stream, tags, headers: { secret } },
      batchGroup: 'both',
    })),
  });
  const [published] = results.map(({ result }) => (result.case === 'ok' ? result.value : undefined));
  if (published === undefined) throw new Error('an estate without an event');
  const { eventId: id, flowId: flow, batch } = published;
  // The batch has its join only when it is routed.
  await eventually(async () => (await admin.getStats({ namespace })).unroutedEventCount === 0n);
  const reactions = await admin.listExecutions({ namespace, filter: { subscription } });
  return {
    event: { id, type, stream, flow, batch: batch?.batchId ?? '' },
    subscription,
    reaction: reactions.executions[0]?.executionId ?? '',
  };
}
