/** Events over the generated clients: published in calls of one or many, and what subscriptions make of them. */
import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import type { EventSpecSchema } from '../../gen/tailrace/v1/event_pb.js';
import type { SubscriptionSpecSchema } from '../../gen/tailrace/v1/subscription_pb.js';
import { inputOf } from '../content.js';
import { TailraceCalls } from './tailrace-calls.js';

export const EVENT = 'happened';

type NewEvent = Exclude<MessageInitShape<typeof EventSpecSchema>, Message>;
type NewSubscription = Exclude<MessageInitShape<typeof SubscriptionSpecSchema>, Message>;

const LOOK_MS = 50;
const ABREAST = 50;

/** With 1 KiB of payload. */
export function eventOf(ordinal: number, more: NewEvent = {}): NewEvent {
  return { type: EVENT, payload: { body: { case: 'text', value: inputOf(ordinal) } }, ...more };
}

export class TailraceEvents extends TailraceCalls {
  /** What it starts is of type and lane `name`. */
  async subscribe(name: string, more: NewSubscription = {}): Promise<void> {
    const filter = { eventTypes: [EVENT] };
    await this.admin.putSubscription({ subscription: { name, type: name, lane: name, filter, ...more } });
  }

  async publish(events: readonly NewEvent[]): Promise<void> {
    const { results } = await this.engine.publishEvents({ events: [...events] });
    for (const { result } of results) {
      if (result.case !== 'ok') throw new Error(`an event was refused: ${result.value?.message}`);
    }
  }

  /** So many flows that more can be added to; answers their ids. */
  async openFlows(count: number): Promise<string[]> {
    const ids: string[] = [];
    while (ids.length < count) {
      const made = Array.from({ length: Math.min(ABREAST, count - ids.length) }, () =>
        this.engine.createFlow({ flow: { open: true } }),
      );
      ids.push(...(await Promise.all(made)).map(({ flowId }) => flowId));
    }
    return ids;
  }

  /** Events that wait for some subscription; counted no further than the contract does. */
  async unrouted(): Promise<number> {
    const { subscriptions } = await this.admin.listSubscriptions({ pageSize: 1_000 });
    return Math.max(0, ...subscriptions.map(({ unroutedEventCount }) => Number(unroutedEventCount)));
  }

  async routed(): Promise<void> {
    while ((await this.unrouted()) > 0) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
