/** The calls of one member of a consumer. Those that are safe to repeat are, while their refusals are passing ones. */
import { durationFromMs, type Timestamp } from '@bufbuild/protobuf/wkt';
import type { Client } from '@connectrpc/connect';
import type { Failure } from '../../gen/tailrace/v1/attempt_pb.js';
import type {
  AcquireConsumerResponse,
  CommitEntriesResponse,
  CompletionService,
  FailEntryResponse,
  FetchEntriesResponse,
} from '../../gen/tailrace/v1/completion_service_pb.js';
import type { ConsumerDelivery, ConsumerPartRef } from '../../gen/tailrace/v1/consumer_pb.js';
import { retrying } from '../client/retry.js';
import { type CompleteConsumerOptions, fetchWaitMs } from './consumer-options.js';

export type ConsumerEngine = Pick<
  Client<typeof CompletionService>,
  'acquireConsumer' | 'fetchEntries' | 'commitEntries' | 'failEntry' | 'releaseConsumer' | 'watchLog'
>;

export type PartRef = Pick<ConsumerPartRef, 'generation' | 'part' | 'epoch'>;

/** Who holds a part, in the words of every call that moves it. */
export interface PartHolding {
  readonly namespace: string;
  readonly consumer: string;
  readonly ownerId: string;
  readonly part: PartRef;
}

export interface MemberIdentity {
  readonly engine: ConsumerEngine;
  readonly namespace: string;
  readonly consumer: string;
  readonly ownerId: string;
  /** 0: the live one. */
  readonly generation: bigint;
  readonly options: CompleteConsumerOptions;
}

export interface Move {
  readonly fromCursor: string;
  readonly toCursor: string;
  readonly deadLetterIds?: readonly string[];
}

const CALL_MS = 15_000;
const RELEASE_MS = 5_000;

export class ConsumerCalls {
  readonly #identity: MemberIdentity;

  constructor(identity: MemberIdentity) {
    this.#identity = identity;
  }

  holding(part: PartRef): PartHolding {
    return { ...this.#named, part };
  }

  acquire(waitMs: number, signal: AbortSignal): Promise<AcquireConsumerResponse> {
    const { engine, generation, options } = this.#identity;
    const { maxParts, leaseDurationMs } = options;
    const request = { ...this.#named, generation, maxParts, leaseDuration: durationFromMs(leaseDurationMs) };
    const bounds = { signal, timeoutMs: waitMs + CALL_MS };
    return engine.acquireConsumer({ ...request, wait: durationFromMs(waitMs) }, bounds);
  }

  fetch(part: PartRef, signal: AbortSignal): Promise<FetchEntriesResponse> {
    const { engine, options } = this.#identity;
    const waitMs = fetchWaitMs(options);
    const request = { ...this.holding(part), maxEntries: options.maxEntries, wait: durationFromMs(waitMs) };
    return engine.fetchEntries(request, { signal, timeoutMs: waitMs + CALL_MS });
  }

  commit(part: PartRef, { fromCursor, toCursor, deadLetterIds = [] }: Move): Promise<CommitEntriesResponse> {
    const { engine } = this.#identity;
    const request = { ...this.holding(part), fromCursor, toCursor, deadLetterIds: [...deadLetterIds] };
    return this.#repeated(() => engine.commitEntries(request, { timeoutMs: CALL_MS }));
  }

  fail(part: PartRef, delivery: ConsumerDelivery, told: ToldFailure): Promise<FailEntryResponse> {
    const { engine } = this.#identity;
    const { entry, previousTries, deadLetterId } = delivery;
    const at = { entryCursor: entry?.cursor ?? '', previousTries, deadLetterId };
    const request = { ...this.holding(part), ...at, ...told };
    return this.#repeated(() => engine.failEntry(request, { timeoutMs: CALL_MS }));
  }

  /** None named: all that it holds. */
  async release(parts: readonly PartRef[]): Promise<void> {
    const { engine } = this.#identity;
    const request = { ...this.#named, parts: [...parts] };
    await retrying(() => engine.releaseConsumer(request, { timeoutMs: RELEASE_MS }), { forMs: RELEASE_MS });
  }

  get #named() {
    const { namespace, consumer, ownerId } = this.#identity;
    return { namespace, consumer, ownerId };
  }

  /** For as long as nobody else is sure to have the part. */
  #repeated<T>(call: () => Promise<T>): Promise<T> {
    return retrying(call, { forMs: this.#identity.options.leaseDurationMs });
  }
}

export interface ToldFailure {
  readonly failure: FailureReport;
  readonly retryTime?: Timestamp;
}

export type FailureReport = Pick<Failure, 'failureClass' | 'message' | 'code'> & Partial<Pick<Failure, 'details'>>;
