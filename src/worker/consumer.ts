/**
 * A consumer as this process works on it: a member of the live generation, and with `rebuilds` one of the generation that is
 * being rebuilt, which comes and goes.
 *
 * Which generations there are is read once and then watched in the log: nothing is asked while nothing happens.
 */
import type { Client } from '@connectrpc/connect';
import type { AdminService } from '../../gen/tailrace/v1/admin_service_pb.js';
import type { Consumer as ConsumerObject } from '../../gen/tailrace/v1/consumer_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { Backoff } from '../client/backoff.js';
import { asTailraceError } from '../client/errors.js';
import { Watch } from '../client/watch.js';
import { pause } from '../runtime/clock.js';
import type { ConsumerEngine } from './consumer-calls.js';
import type { EntryRunner } from './consumer-handlers.js';
import { ConsumerMember } from './consumer-member.js';
import type { CompleteConsumerOptions } from './consumer-options.js';
import type { WorkerLog } from './log.js';

const CALL = { timeoutMs: 15_000 };
const OPEN_MS = 15_000;
/** What begins or ends a generation. */
const KINDS = [LogEntryKind.CONSUMER_REBUILDING, LogEntryKind.CONSUMER_PROMOTED];

export interface FollowedOptions {
  readonly engine: ConsumerEngine;
  readonly admin: Pick<Client<typeof AdminService>, 'getConsumer'>;
  readonly namespace: string;
  readonly consumer: string;
  readonly runner: EntryRunner;
  readonly options: CompleteConsumerOptions;
  readonly log: WorkerLog;
}

export class FollowedConsumer {
  readonly #options: FollowedOptions;
  readonly #live: ConsumerMember;
  readonly #rebuilding = new Map<bigint, ConsumerMember>();
  readonly #abort = new AbortController();
  readonly #ending = new Set<Promise<void>>();
  #following: Promise<void> = Promise.resolve();

  constructor(options: FollowedOptions) {
    this.#options = options;
    this.#live = this.#member(0n);
  }

  get name(): string {
    return this.#options.consumer;
  }

  start(): void {
    this.#live.start();
    if (this.#options.options.rebuilds) this.#following = this.#follow(this.#abort.signal);
  }

  async stop(drainMs: number): Promise<void> {
    this.#abort.abort();
    await this.#following;
    const members = [this.#live, ...this.#rebuilding.values()];
    await Promise.all([...members.map((member) => member.stop(drainMs)), ...this.#ending]);
  }

  #member(generation: bigint): ConsumerMember {
    const partCount = async (of: bigint) => {
      const consumer = await this.#read();
      return consumer?.generations.find((one) => one.generation === of)?.partCount;
    };
    return new ConsumerMember({ ...this.#options, generation, partCount });
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { engine, namespace, consumer, log } = this.#options;
    const backoff = new Backoff(500, 10_000);
    const filter = { kinds: KINDS };
    while (!signal.aborted) {
      try {
        const watch = await Watch.open(
          (start, ended) => engine.watchLog({ namespace, filter, ...start }, { signal: ended }),
          { signal },
          OPEN_MS,
        );
        try {
          await this.#look();
          backoff.reset();
          for await (const { subject } of watch) if (subject === consumer) await this.#look();
        } finally {
          watch.close();
        }
      } catch (thrown) {
        if (signal.aborted) return;
        const error = asTailraceError(thrown);
        log('warn', 'generations cannot be followed; trying again', { error, consumer });
        await pause(backoff.next(error), signal);
      }
    }
  }

  async #look(): Promise<void> {
    const { generations = [] } = (await this.#read()) ?? {};
    const rebuilt = new Set(generations.flatMap(({ live, generation }) => (live ? [] : generation)));
    for (const [generation, member] of this.#rebuilding) {
      if (rebuilt.has(generation)) continue;
      this.#rebuilding.delete(generation);
      const end = member.stop(0).finally(() => this.#ending.delete(end));
      this.#ending.add(end);
    }
    for (const generation of rebuilt) {
      if (this.#rebuilding.has(generation) || this.#abort.signal.aborted) continue;
      const member = this.#member(generation);
      this.#rebuilding.set(generation, member);
      member.start();
    }
  }

  /** Undefined: there is none yet. */
  async #read(): Promise<ConsumerObject | undefined> {
    const { admin, namespace, consumer } = this.#options;
    try {
      return (await admin.getConsumer({ namespace, consumer }, CALL)).consumer;
    } catch (thrown) {
      const error = asTailraceError(thrown);
      if (error.reason === 'CONSUMER_NOT_FOUND') return undefined;
      throw error;
    }
  }
}
