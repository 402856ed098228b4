/** Events, subscriptions and what they start, one step at a time. */
import type { CompletedExecution, PublishedEvent } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { EmittedEvent, Event, EventSpec } from '../../gen/tailrace/v1/event_pb.js';
import type { Execution } from '../../gen/tailrace/v1/execution_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import type { Subscription, SubscriptionSpec } from '../../gen/tailrace/v1/subscription_pb.js';
import { type Init, leaseOf, ok, only } from './by-hand.js';
import { WaitsByHand } from './waits-by-hand.js';

const PAGE = 1_000;

export class EventsByHand extends WaitsByHand {
  async publish(...events: Init<EventSpec>[]): Promise<PublishedEvent[]> {
    return (await this.clients.engine.publishEvents({ events })).results.map((result) => ok(result));
  }

  async publishOne(event: Init<EventSpec>): Promise<PublishedEvent> {
    return only(await this.publish(event));
  }

  /** What it makes has its name as type and as lane, unless it is told otherwise. */
  async subscribe(name: string, more: Omit<Init<SubscriptionSpec>, 'name'> = {}): Promise<Subscription> {
    const subscription = { name, type: name, lane: name, ...more };
    const answer = await this.clients.admin.putSubscription({ subscription });
    if (answer.subscription === undefined) throw new Error('an answer without a subscription');
    return answer.subscription;
  }

  async completeWith(claim: Claim, ...events: Init<EmittedEvent>[]): Promise<CompletedExecution> {
    const completions = [{ lease: leaseOf(claim), events }];
    return ok(only((await this.clients.engine.completeExecutions({ completions })).results));
  }

  async event(eventId: string): Promise<Event> {
    const { event } = await this.clients.engine.getEvent({ eventId });
    if (event === undefined) throw new Error(`no event ${eventId}`);
    return event;
  }

  /** Oldest first. */
  async reactionsOf(subscription: string): Promise<Execution[]> {
    const made: Execution[] = [];
    let pageToken = '';
    do {
      const asked = { filter: { subscription }, pageSize: PAGE, pageToken };
      const page = await this.clients.admin.listExecutions(asked);
      made.push(...page.executions);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return made.reverse();
  }
}
