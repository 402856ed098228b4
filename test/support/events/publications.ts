/** What publishing answers, event by event, for tests that decide what is asked. */
import type { PublishEventResult, PublishedEvent } from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { Event, EventSpec } from '../../../gen/tailrace/v1/event_pb.js';
import { type Init, ok, only, refusal } from '../by-hand.js';
import type { Clients } from '../tailrace.js';

export type Published = Init<EventSpec>;

export class Publications {
  readonly #clients: Pick<Clients, 'engine'>;

  constructor(clients: Pick<Clients, 'engine'>) {
    this.#clients = clients;
  }

  /** Their type is `happened` unless they have another. */
  async ask(
    specs: readonly Published[],
    more: { atomic?: boolean; namespace?: string } = {},
  ): Promise<PublishEventResult[]> {
    const events = specs.map((spec) => ({ type: 'happened', ...spec }));
    return (await this.#clients.engine.publishEvents({ events, ...more })).results;
  }

  /** Fails if one is refused. */
  async publish(...specs: Published[]): Promise<PublishedEvent[]> {
    return (await this.ask(specs)).map(ok);
  }

  async one(spec: Published = {}): Promise<PublishedEvent> {
    return only(await this.publish(spec));
  }

  /** `published`, `duplicate`, or the reason of the refusal. */
  async verdicts(...asked: Parameters<Publications['ask']>): Promise<string[]> {
    return (await this.ask(...asked)).map(verdictOf);
  }

  async refused(spec: Published): Promise<{ reason: string; metadata: Record<string, string> }> {
    const { reason, metadata } = await refusal(this.publish(spec));
    return { reason, metadata };
  }

  async get(eventId: string): Promise<Event> {
    const { event } = await this.#clients.engine.getEvent({ eventId });
    if (event === undefined) throw new Error(`there is no event ${eventId}`);
    return event;
  }

  async versionsOf(stream: string): Promise<bigint[]> {
    const { events } = await this.#clients.engine.readStream({ stream, pageSize: 1_000 });
    return events.map(({ streamVersion }) => streamVersion);
  }
}

export function verdictOf({ result }: PublishEventResult): string {
  if (result.case === 'ok') return result.value.duplicate ? 'duplicate' : 'published';
  return result.value?.detail?.reason ?? 'untyped';
}
