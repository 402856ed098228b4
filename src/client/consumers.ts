/**
 * Consumers as they are put, seen and steered; the worker library is what works on them. Refusals are TailraceErrors.
 */
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import type { Consumer, ConsumerState } from '../../gen/tailrace/v1/consumer_pb.js';
import { type NewConsumer, type Place, placeOf, toConsumerSpec } from './consumer-spec.js';
import { retrying } from './retry.js';
import type { ExpectedVersion } from './subscriptions.js';

const CALL = { timeoutMs: 60_000 };

export type ConsumerCalls = Pick<
  ServiceClient<typeof AdminService>,
  | 'putConsumer'
  | 'getConsumer'
  | 'listConsumers'
  | 'pauseConsumer'
  | 'resumeConsumer'
  | 'resetConsumer'
  | 'rebuildConsumer'
  | 'promoteConsumer'
>;

export interface ConsumersOptions {
  readonly admin: ConsumerCalls;
  readonly namespace: string;
  readonly retryForMs: number;
}

export interface ConsumerChangeOptions extends ExpectedVersion {
  /** For people. Up to 1 KiB. */
  readonly reason?: string;
}

export interface RebuildOptions extends ConsumerChangeOptions {
  /** Where the new generation begins. Default `earliest`. */
  readonly from?: Place;
  /** Its number of parts. Default: as the live one. */
  readonly parts?: number;
  /** It takes over by itself once it has caught up, instead of waiting for `promote`. */
  readonly promoteWhenCaughtUp?: boolean;
}

export class Consumers {
  readonly #options: ConsumersOptions;

  constructor(options: ConsumersOptions) {
    this.#options = options;
  }

  /** Makes or changes it; a repeat changes nothing. */
  async put(asked: NewConsumer, { expectedVersion = 0n }: ExpectedVersion = {}): Promise<Consumer> {
    const { admin, namespace } = this.#options;
    const request = { namespace, consumer: toConsumerSpec(asked), expectedVersion };
    return there((await this.#call(() => admin.putConsumer(request, CALL))).consumer);
  }

  /** With its parts, their owners and failures, and how far each generation is behind. */
  async get(consumer: string): Promise<Consumer> {
    const { admin, namespace } = this.#options;
    return there((await this.#call(() => admin.getConsumer({ namespace, consumer }, CALL))).consumer);
  }

  /** All, by name and without parts: those in one of these states. */
  async list({ states = [] }: { readonly states?: readonly ConsumerState[] } = {}): Promise<Consumer[]> {
    const { admin, namespace } = this.#options;
    const found: Consumer[] = [];
    for (let pageToken = ''; ; ) {
      const request = { namespace, states: [...states], pageSize: 1_000, pageToken };
      const page = await this.#call(() => admin.listConsumers(request, CALL));
      found.push(...page.consumers);
      pageToken = page.nextPageToken;
      if (pageToken === '') return found;
    }
  }

  /** Stops it where it stands; entries in hand can still be committed. */
  async pause(consumer: string, options: ConsumerChangeOptions = {}): Promise<Consumer> {
    const request = this.#change(consumer, options);
    return there((await this.#call(() => this.#options.admin.pauseConsumer(request, CALL))).consumer);
  }

  /** Lets it go on. One that has halted tries its entry again, from the first try. */
  async resume(consumer: string, options: ConsumerChangeOptions = {}): Promise<Consumer> {
    const request = this.#change(consumer, options);
    return there((await this.#call(() => this.#options.admin.resumeConsumer(request, CALL))).consumer);
  }

  /** Moves its live generation. What members have in hand they can no longer commit. */
  async reset(
    consumer: string,
    to: Place | { readonly time: Date },
    options: ConsumerChangeOptions = {},
  ): Promise<Consumer> {
    const place = typeof to === 'object' && 'time' in to ? { time: timestampFromDate(to.time) } : placeOf(to);
    const request = { ...this.#change(consumer, options), ...place };
    return there((await this.#call(() => this.#options.admin.resetConsumer(request, CALL))).consumer);
  }

  /** Starts a generation beside the live one, in place of one that is being rebuilt already. */
  async rebuild(
    consumer: string,
    options: RebuildOptions = {},
  ): Promise<{ readonly consumer: Consumer; readonly generation: bigint }> {
    const { from = 'earliest', parts: partCount = 0, promoteWhenCaughtUp = false } = options;
    const request = { ...this.#change(consumer, options), ...placeOf(from), partCount, promoteWhenCaughtUp };
    const answer = await this.#call(() => this.#options.admin.rebuildConsumer(request, CALL));
    return { consumer: there(answer.consumer), generation: answer.generation };
  }

  /** Makes a generation that has caught up the live one. */
  async promote(consumer: string, generation: bigint, options: ConsumerChangeOptions = {}): Promise<Consumer> {
    const request = { ...this.#change(consumer, options), generation };
    return there((await this.#call(() => this.#options.admin.promoteConsumer(request, CALL))).consumer);
  }

  #change(consumer: string, { reason = '', expectedVersion = 0n }: ConsumerChangeOptions) {
    return { namespace: this.#options.namespace, consumer, reason, expectedVersion };
  }

  #call<T>(call: () => Promise<T>): Promise<T> {
    return retrying(call, { forMs: this.#options.retryForMs });
  }
}

function there(consumer: Consumer | undefined): Consumer {
  if (consumer === undefined) throw new Error('the server answered no consumer');
  return consumer;
}
