/**
 * Puts a worker's subscriptions, each time it starts: the same content changes nothing. Of workers that say different
 * things under one name the last to start decides.
 *
 * Nothing is taken away when a worker stops, for what is published meanwhile waits for the next one. A subscription that
 * no worker names any more is deleted by hand.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { SubscriptionSpecSchema } from '../../gen/tailrace/v1/subscription_pb.js';
import { asTailraceError } from '../client/errors.js';
import type { SubscriptionCalls } from '../client/subscriptions.js';
import { Loop } from '../runtime/loop.js';
import type { WorkerLog } from './log.js';

const CALL = { timeoutMs: 5_000 };

export type SubscriptionSpec = MessageInitShape<typeof SubscriptionSpecSchema> & { readonly name: string };

export interface SubscriberOptions {
  readonly admin: Pick<SubscriptionCalls, 'putSubscription'>;
  readonly namespace: string;
  readonly wanted: readonly SubscriptionSpec[];
  readonly log: WorkerLog;
}

export class Subscriber {
  readonly #options: SubscriberOptions;
  readonly #missing: SubscriptionSpec[];
  readonly #loop: Loop;

  constructor(options: SubscriberOptions) {
    this.#options = options;
    this.#missing = [...options.wanted];
    this.#loop = new Loop({
      name: 'subscriber',
      body: () => this.#put(),
      onError: (_, error) => options.log('warn', 'subscriptions could not be put; trying again', { error }),
      backoffMs: 500,
    });
  }

  /** Throws what waiting will not cure, such as a subscription that is refused; a server that is away is waited for. */
  async start(): Promise<void> {
    try {
      await this.#put();
    } catch (thrown) {
      const error = asTailraceError(thrown);
      if (!error.passing) throw error;
      this.#options.log('warn', 'subscriptions cannot be put yet; trying again', { error });
      this.#loop.start();
    }
  }

  async stop(): Promise<void> {
    await this.#loop.stop(CALL.timeoutMs);
  }

  async #put(): Promise<undefined> {
    const { admin, namespace, log } = this.#options;
    for (let subscription = this.#missing[0]; subscription; subscription = this.#missing[0]) {
      const { warnings } = await admin.putSubscription({ namespace, subscription }, CALL);
      for (const warning of warnings) log('warn', warning, { subscription: subscription.name });
      this.#missing.shift();
    }
  }
}
