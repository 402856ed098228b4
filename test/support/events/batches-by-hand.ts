/** Batches of events, one step at a time: each subscription has a lane and a type of its own, by its name. */
import type { CompletedExecution } from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { EmittedEvent, EventSpec } from '../../../gen/tailrace/v1/event_pb.js';
import { type Join, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../../gen/tailrace/v1/lease_pb.js';
import type { BatchJoin, SubscriptionSpec } from '../../../gen/tailrace/v1/subscription_pb.js';
import { ByHand, type Init, leaseOf, ok, only, seconds, text } from '../by-hand.js';
import { eventually } from '../eventually.js';
import type { Clients } from '../tailrace.js';

const LEASE = { leaseDuration: seconds(60) };

export interface Published {
  readonly flow: string;
  readonly batch: string;
  readonly events: readonly string[];
}

export class BatchesByHand extends ByHand {
  readonly clients: Clients;

  constructor(clients: Clients, name?: string) {
    super(clients, name);
    this.clients = clients;
  }

  async subscribe(name: string, eventType: string, more: Init<SubscriptionSpec> = {}): Promise<void> {
    const subscription = { name, filter: { eventTypes: [eventType] }, lane: name, type: name, ...more };
    await this.clients.admin.putSubscription({ subscription });
  }

  /** One execution for all events of this type that are of one batch. */
  async join(
    name: string,
    eventType: string,
    batchJoin: Init<BatchJoin> = {},
    more: Init<SubscriptionSpec> = {},
  ): Promise<void> {
    await this.subscribe(name, eventType, { batchJoin, ...more });
  }

  /** A batch whose events tell their place. */
  async publish(type: string, size: number, more: (place: number) => Init<EventSpec> = () => ({})): Promise<Published> {
    const events = Array.from({ length: size }, (_, i) => ({
      type,
      payload: text(`${type} ${i}`),
      batchGroup: 'all',
      ...more(i),
    }));
    const results = (await this.clients.engine.publishEvents({ events })).results.map(ok);
    const ids = results.map(({ eventId }) => eventId);
    const { event } = await this.clients.engine.getEvent({ eventId: ids[0] ?? '' });
    return { flow: results[0]?.flowId ?? '', batch: event?.batch?.batchId ?? '', events: ids };
  }

  /** Claims what a subscription has started for each place of a batch; by place. */
  async members(name: string, size: number): Promise<Claim[]> {
    const claims: Claim[] = [];
    while (claims.length < size) {
      claims.push(...(await this.claim({ lanes: [{ lane: name }], maxExecutions: size - claims.length, ...LEASE })));
    }
    return claims.sort((a, b) => (a.batch?.index ?? 0) - (b.batch?.index ?? 0));
  }

  async emit(claim: Claim | undefined, ...events: readonly Init<EmittedEvent>[]): Promise<CompletedExecution> {
    if (claim === undefined) throw new Error('there is no such member');
    const completions = [{ lease: leaseOf(claim), events: [...events] }];
    return ok(only((await this.clients.engine.completeExecutions({ completions })).results));
  }

  /** What a join handed to the execution that it let go. */
  async joined(name: string): Promise<Claim> {
    return await this.claimOne({ lanes: [{ lane: name }], ...LEASE });
  }

  /** The only join of a subscription, once it is so. */
  async joinOf(subscription: string, isSo: (join: Join) => boolean): Promise<Join> {
    let found: Join[] = [];
    await eventually(async () => {
      found = (await this.clients.admin.listJoins({ subscription })).joins;
      return found.some(isSo);
    });
    return only(found);
  }
}

/** Per slot: its place, what became of it, and its content or failure. */
export function slotsOf({ joinedInputs }: Claim): unknown[] {
  return joinedInputs.map(({ index, outcome, payload, failure }) => [
    index,
    SlotOutcome[outcome],
    payload?.body.value ?? failure?.message,
  ]);
}
