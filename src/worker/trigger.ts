/** The event behind an execution, as its handler sees it. */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { BatchPosition, Event } from '../../gen/tailrace/v1/event_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';

/** A place in a batch of events. */
export interface BatchPlace {
  readonly batchId: string;
  /** From 0. */
  readonly index: number;
  readonly size: number;
}

/** Everything about an event but its payload. */
export interface EventEnvelope {
  readonly eventId: string;
  readonly type: string;
  /** Empty without one. */
  readonly stream: string;
  /** Place in its stream, from 1; 0 without one. */
  readonly streamVersion: bigint;
  readonly flowId: string;
  /** The event that caused it; empty for a root. */
  readonly causeEventId: string;
  /** The execution that emitted it; empty if none did. */
  readonly causeExecutionId: string;
  /** Length of the chain of causes behind it. */
  readonly hops: number;
  readonly batch: BatchPlace | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** As its publisher counts it; 0 if it was not told. */
  readonly schemaVersion: number;
  /** On the database's clock. */
  readonly published: Date | undefined;
  /** As its publisher said. */
  readonly occurred: Date | undefined;
}

export interface Trigger {
  readonly subscription: string;
  /** Of the subscription, when the event was routed. */
  readonly subscriptionVersion: bigint;
  /** Undefined for a log entry of another kind, which is in the claim. */
  readonly event: EventEnvelope | undefined;
}

export function triggerOf({ trigger }: Claim): Trigger | undefined {
  if (!trigger) return undefined;
  const { subscription, subscriptionVersion, subject } = trigger;
  const event = subject.case === 'event' ? envelopeOf(subject.value) : undefined;
  return { subscription, subscriptionVersion, event };
}

export function batchOf(position: BatchPosition | undefined): BatchPlace | undefined {
  return position && { batchId: position.batchId, index: position.index, size: position.size };
}

function envelopeOf(event: Event): EventEnvelope {
  return {
    eventId: event.eventId,
    type: event.type,
    stream: event.stream,
    streamVersion: event.streamVersion,
    flowId: event.flowId,
    causeEventId: event.causeEventId,
    causeExecutionId: event.causeExecutionId,
    hops: event.hops,
    batch: batchOf(event.batch),
    tags: event.tags,
    headers: event.headers,
    schemaVersion: event.schemaVersion,
    published: event.publishTime && timestampDate(event.publishTime),
    occurred: event.occurTime && timestampDate(event.occurTime),
  };
}
