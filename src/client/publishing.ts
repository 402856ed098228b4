/**
 * Events from clients: published, and read back. Whatever has no event id is given one, so that a call whose answer is lost
 * may be repeated and publishes once.
 */
import { randomUUID } from 'node:crypto';
import type { Client as ServiceClient } from '@connectrpc/connect';
import type { EngineService, PublishEventResult } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { Event } from '../../gen/tailrace/v1/event_pb.js';
import { Content, lengthOf } from './content.js';
import { fromItemError, type TailraceError } from './errors.js';
import type { AnyEvents, EventSchemas } from './event-schemas.js';
import { type EventOptions, type NewEvent, toEmittedEvent } from './new-event.js';
import { retrying } from './retry.js';
import { split } from './split.js';
import { madeOf, producing } from './tracing.js';

/** What a client's event may carry beside type and payload. */
export interface PublishOptions extends EventOptions {
  /**
   * 1 to 200 bytes, unique in the namespace; a UUIDv7 is best. The same id with the same content answers the first event, with
   * other content EVENT_ID_REUSED. Default: a random one, which protects the client's own retries only.
   */
  readonly eventId?: string;
  /** Flow it belongs to. Default: its cause's, else a new one. */
  readonly flowId?: string;
  /** Event that caused it; may come earlier in the same call. */
  readonly causeEventId?: string;
}

export interface PublishedEvent {
  readonly eventId: string;
  /** Its place in the log, final. */
  readonly cursor: string;
  /** 0 without a stream. */
  readonly streamVersion: bigint;
  readonly flowId: string;
  /** Whether an earlier call had stored it. */
  readonly duplicate: boolean;
  /** Length of the chain of causes behind it. */
  readonly hops: number;
  readonly batch: { readonly batchId: string; readonly index: number; readonly size: number } | undefined;
}

export type PublishResult =
  | ({ readonly ok: true } & PublishedEvent)
  | { readonly ok: false; readonly error: TailraceError };

export type StoredEvent = Omit<Event, 'payload'> & { readonly content: Content };

export interface ReadStreamOptions {
  /** First version to read. Default 1; backward: the last one. */
  readonly fromVersion?: bigint | number;
  /** From the newest to the oldest. */
  readonly backward?: boolean;
  /** Events per call, 1 to 1000. Default 50. */
  readonly pageSize?: number;
}

type Placed = { readonly spec: ReturnType<typeof toEventSpec>; readonly at: number };

/** The server takes 1000, more only as one batch group, and by default 16 MiB. */
const BOUNDS = { items: 1_000, bytes: 4 * 2 ** 20 };
/** A call that takes longer is given up and repeated. */
const CALL = { timeoutMs: 15_000 };
const BATCH_CALL = { timeoutMs: 60_000 };

export interface PublishingOptions {
  readonly engine: Pick<ServiceClient<typeof EngineService>, 'publishEvents' | 'getEvent' | 'readStream'>;
  readonly namespace: string;
  readonly schemas: EventSchemas | undefined;
  readonly retryForMs: number;
}

export class Publishing<E extends EventSchemas = AnyEvents> {
  readonly #options: PublishingOptions;

  constructor(options: PublishingOptions) {
    this.#options = options;
  }

  async publishOne(event: NewEvent<E, PublishOptions>): Promise<PublishedEvent> {
    const [result] = await this.publish([event], false);
    if (!result?.ok) throw result?.error ?? new Error('the server answered no result');
    const { ok, ...published } = result;
    return published;
  }

  async publish(events: readonly NewEvent<E, PublishOptions>[], atomic: boolean): Promise<PublishResult[]> {
    const specs = events.map((event, at) => ({ spec: toEventSpec(this.#options.schemas, event), at }));
    const results: PublishResult[] = [];
    for (const call of atomic ? [specs] : callsOf(specs)) {
      const { namespace, engine } = this.#options;
      const request = { namespace, events: call.map(({ spec }) => spec), atomic };
      const bounds = call.length > BOUNDS.items ? BATCH_CALL : CALL;
      const publish = () => this.#call(() => engine.publishEvents(request, bounds));
      const answer = await producing(madeOf('publish', request.events), publish);
      answer.results.forEach((result, i) => {
        const at = call[i]?.at;
        if (at !== undefined) results[at] = toResult(result);
      });
    }
    return results;
  }

  async get(eventId: string): Promise<StoredEvent | undefined> {
    const { engine, namespace } = this.#options;
    const { event } = await this.#call(() => engine.getEvent({ namespace, eventId }, CALL));
    return event && toStored(event);
  }

  async *read(stream: string, options: ReadStreamOptions): AsyncGenerator<StoredEvent, void> {
    const { engine, namespace } = this.#options;
    const { backward = false, pageSize = 0 } = options;
    let fromVersion = BigInt(options.fromVersion ?? 0);
    for (;;) {
      const request = { namespace, stream, fromVersion, backward, pageSize };
      const page = await this.#call(() => engine.readStream(request, CALL));
      for (const event of page.events) yield toStored(event);
      const last = page.events.at(-1)?.streamVersion;
      if (last === undefined || last === (backward ? 1n : page.streamVersion)) return;
      fromVersion = backward ? last - 1n : last + 1n;
    }
  }

  #call<T>(call: () => Promise<T>): Promise<T> {
    return retrying(call, { forMs: this.#options.retryForMs });
  }
}

function toEventSpec(schemas: EventSchemas | undefined, event: NewEvent<AnyEvents, PublishOptions>) {
  const { eventId = randomUUID(), flowId = '', causeEventId = '' } = event;
  return { ...toEmittedEvent(schemas, event), eventId, flowId, causeEventId };
}

/** A batch group goes with its first event, and goes whole. */
function callsOf(specs: readonly Placed[]): Placed[][] {
  const groups = new Map<string, Placed[]>();
  const units: Placed[][] = [];
  for (const placed of specs) {
    const { batchGroup } = placed.spec;
    const begun = groups.get(batchGroup);
    if (begun) {
      begun.push(placed);
      continue;
    }
    const unit = [placed];
    if (batchGroup !== '') groups.set(batchGroup, unit);
    units.push(unit);
  }
  const sizeOf = (unit: Placed[]) => unit.reduce((sum, { spec }) => sum + lengthOf(spec.payload), 0);
  const countOf = (unit: Placed[]) => unit.length;
  return split(units, sizeOf, BOUNDS, countOf).map((call) => call.flat());
}

function toResult({ result }: PublishEventResult): PublishResult {
  if (result.case !== 'ok') {
    if (result.case === 'error') return { ok: false, error: fromItemError(result.value) };
    throw new Error('the server answered an event with nothing');
  }
  const { eventId, cursor, streamVersion, flowId, duplicate, hops, batch } = result.value;
  const place = batch && { batchId: batch.batchId, index: batch.index, size: batch.size };
  return { ok: true, eventId, cursor, streamVersion, flowId, duplicate, hops, batch: place };
}

function toStored({ payload, ...envelope }: Event): StoredEvent {
  return { ...envelope, content: new Content(payload) };
}
