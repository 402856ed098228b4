/** Events as callers write them down, typed by their schemas, and the messages made from them. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { EmittedEventSchema } from '../../gen/tailrace/v1/event_pb.js';
import type { FailureEventSchema } from '../../gen/tailrace/v1/execution_pb.js';
import { type AnyEvents, type EventSchemas, type EventType, type SentPayload, sentPayload } from './event-schemas.js';

/** What an event may carry beside type and payload. */
export interface EventOptions {
  /** Stream to append to, up to 200 bytes. Default none. */
  readonly stream?: string;
  /** With a stream: the version it must have now, 0 for a new one; refused with STREAM_VERSION_CONFLICT. Default: any. */
  readonly expectedStreamVersion?: bigint | number;
  /** Events of one call with the same group are a batch: indexed, sized, for batch joins. Up to 200 bytes, 10,000 events. */
  readonly batchGroup?: string;
  /** For people and filters: up to 32, keys up to 64 bytes, values up to 256. */
  readonly tags?: Readonly<Record<string, string>>;
  /** For routing and tracing: up to 32, keys up to 64 bytes, values up to 1024. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Version of the payload's schema, as its publisher counts it. */
  readonly schemaVersion?: number;
  /** When it happened. Data: nothing is decided by it. */
  readonly occurred?: Date;
}

/** `Options` are those of its way: of a handler's event, or of a client's. */
export type NewEvent<E extends EventSchemas = AnyEvents, Options = EventOptions> = {
  readonly [T in EventType<E>]: { readonly type: T } & PayloadOf<SentPayload<E, T>> & Options;
}[EventType<E>];

type PayloadOf<In> = undefined extends In ? { readonly payload?: In } : { readonly payload: In };

/** What the engine says in a failure event without a payload. */
export interface FailureDescription {
  readonly execution_id: string;
  readonly type: string;
  readonly lane: string;
  /** Why it was given up, such as `PERMANENT`. */
  readonly reason: string;
  /** Empty where nothing failed, as at a deadline. */
  readonly failure_class: string;
  readonly message: string;
  /** The handler's own name for the failure; empty without one. */
  readonly code: string;
  readonly attempts: number;
}

/** Why an execution is given up. */
export type GivenUpReason = Lowercase<
  Exclude<keyof typeof DeadLetterReason, 'UNSPECIFIED' | 'HOP_LIMIT' | 'CONSUMER_ENTRY'>
>;

/**
 * An event to publish when an execution is given up, even if no worker was there to see it. Without a payload, which its
 * schema must permit, the engine describes the failure.
 */
export type NewFailureEvent<E extends EventSchemas = AnyEvents> = {
  readonly [T in EventType<E>]: { readonly type: T } & FailurePayloadOf<SentPayload<E, T>> &
    EventOptions & {
      /** Default: every reason. */
      readonly reasons?: readonly GivenUpReason[];
    };
}[EventType<E>];

type FailurePayloadOf<In> = FailureDescription extends In ? { readonly payload?: In } : PayloadOf<In>;

/** Any event, once the compiler is done with it. */
type Written = EventOptions & { readonly type: string; readonly payload?: unknown };

/** Throws an EventContentError if its payload does not fit. */
export function toEmittedEvent(schemas: EventSchemas | undefined, event: Written) {
  const payload = sentPayload(schemas, event.type, event.payload);
  return { ...toEnvelope(event), ...(payload && { payload }) };
}

export function toFailureEvent(
  schemas: EventSchemas | undefined,
  declared: Written & { readonly reasons?: readonly GivenUpReason[] },
): MessageInitShape<typeof FailureEventSchema> {
  const { type, payload, reasons = [] } = declared;
  const made = payload === undefined ? undefined : sentPayload(schemas, type, payload);
  return {
    reasons: reasons.map((reason) => DeadLetterReason[reason.toUpperCase() as keyof typeof DeadLetterReason]),
    event: { ...toEnvelope(declared), ...(made && { payload: made }) },
  };
}

function toEnvelope(event: Written) {
  const { expectedStreamVersion, occurred } = event;
  return {
    type: event.type,
    stream: event.stream ?? '',
    batchGroup: event.batchGroup ?? '',
    tags: { ...event.tags },
    headers: { ...event.headers },
    schemaVersion: event.schemaVersion ?? 0,
    ...(expectedStreamVersion !== undefined && { expectedStreamVersion: BigInt(expectedStreamVersion) }),
    ...(occurred && { occurTime: timestampFromDate(occurred) }),
  } satisfies MessageInitShape<typeof EmittedEventSchema>;
}
