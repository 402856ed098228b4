/** Stored rules that turn events into executions: put, read and taken away. Refusals are TailraceErrors. */
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import type { Subscription } from '../../gen/tailrace/v1/subscription_pb.js';
import type { AnyEvents, EventSchemas } from './event-schemas.js';
import { type NewLetterSubscription, toLetterSubscriptionSpec } from './letter-subscription.js';
import { retrying } from './retry.js';
import { type NewSubscription, toSubscriptionSpec } from './subscription-spec.js';

const CALL = { timeoutMs: 15_000 };

export type SubscriptionCalls = Pick<
  ServiceClient<typeof AdminService>,
  'putSubscription' | 'deleteSubscription' | 'getSubscription' | 'listSubscriptions'
>;

export interface SubscriptionsOptions {
  readonly admin: SubscriptionCalls;
  readonly namespace: string;
  readonly schemas: EventSchemas | undefined;
  readonly retryForMs: number;
}

export interface PutSubscription {
  /** As it is now. Its version rises with its content only. */
  readonly subscription: Subscription | undefined;
  /** What is probably not meant, for people. */
  readonly warnings: readonly string[];
}

export interface ExpectedVersion {
  /** The version the caller saw; refused with VERSION_CONFLICT if it has changed since. Default: any. */
  readonly expectedVersion?: bigint;
}

export class Subscriptions<E extends EventSchemas = AnyEvents> {
  readonly #options: SubscriptionsOptions;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /** Makes or changes it; a repeat changes nothing. A change applies to what is routed after it. */
  async put(
    asked: NewSubscription<E> | NewLetterSubscription,
    { expectedVersion = 0n }: ExpectedVersion = {},
  ): Promise<PutSubscription> {
    const { admin, namespace, schemas } = this.#options;
    const subscriptionSpec =
      'deadLetters' in asked ? toLetterSubscriptionSpec(asked) : toSubscriptionSpec(schemas, asked);
    const request = { namespace, subscription: subscriptionSpec, expectedVersion };
    const { subscription, warnings } = await this.#call(() => admin.putSubscription(request, CALL));
    return { subscription, warnings };
  }

  /** Answers whether it was there. What it started is left alone. */
  async delete(subscription: string, { expectedVersion = 0n }: ExpectedVersion = {}): Promise<boolean> {
    const { admin, namespace } = this.#options;
    const request = { namespace, subscription, expectedVersion };
    return (await this.#call(() => admin.deleteSubscription(request, CALL))).deleted;
  }

  /** With what waits for it, and why if it is halted. */
  async get(subscription: string): Promise<Subscription | undefined> {
    const { admin, namespace } = this.#options;
    return (await this.#call(() => admin.getSubscription({ namespace, subscription }, CALL))).subscription;
  }

  /** All, by name: those into a lane, those that match a type of event. */
  async list({ lane = '', eventType = '' } = {}): Promise<Subscription[]> {
    const { admin, namespace } = this.#options;
    const found: Subscription[] = [];
    for (let pageToken = ''; ; ) {
      const request = { namespace, lane, eventType, pageSize: 1_000, pageToken };
      const page = await this.#call(() => admin.listSubscriptions(request, CALL));
      found.push(...page.subscriptions);
      pageToken = page.nextPageToken;
      if (pageToken === '') return found;
    }
  }

  #call<T>(call: () => Promise<T>): Promise<T> {
    return retrying(call, { forMs: this.#options.retryForMs });
  }
}
