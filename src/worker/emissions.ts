/**
 * The events of one run of a handler: those of its completion, and those of its failure should it be given up.
 *
 * Nothing is published here. They go with the outcome, in its transaction, so that they are made once and only if the
 * handler gets that far; a call of it that parks, is delayed or is lost leaves none. Each is held against its schema when it
 * is emitted, where a handler that is wrong can be seen to be.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { EmittedEventSchema } from '../../gen/tailrace/v1/event_pb.js';
import type { Payload } from '../../gen/tailrace/v1/payload_pb.js';
import { lengthOf } from '../client/content.js';
import type { EventSchemas } from '../client/event-schemas.js';
import { type NewEvent, toEmittedEvent } from '../client/new-event.js';
import type { TraceHeaders } from '../runtime/traceparent.js';

export type EmittedEvent = MessageInitShape<typeof EmittedEventSchema> & { readonly payload?: Payload };

/** Type, ids and what else is said of an event besides its payload, roughly. */
const ENVELOPE_BYTES = 256;
/** What the server takes. */
const MOST_HEADERS = 32;

export function lengthOfEvent({ payload }: EmittedEvent): number {
  return ENVELOPE_BYTES + lengthOf(payload);
}

/** Those that name a trace of their own keep it; so do those that have no room for one. */
function tracedHeaders(own: Readonly<Record<string, string>>, { traceparent, tracestate }: TraceHeaders) {
  if ('traceparent' in own || Object.keys(own).length > MOST_HEADERS - 2) return { ...own };
  const { tracestate: _state, ...others } = own;
  return { ...others, traceparent, ...(tracestate !== '' && { tracestate }) };
}

export class Emissions {
  readonly completed: EmittedEvent[] = [];
  readonly givenUp: EmittedEvent[] = [];
  readonly #schemas: EventSchemas | undefined;
  readonly #trace: () => TraceHeaders | undefined;
  #batches = 0;
  #bytes = 0;

  /** `trace`: what they belong to, at the moment they are emitted. */
  constructor(schemas?: EventSchemas, trace: () => TraceHeaders | undefined = () => undefined) {
    this.#schemas = schemas;
    this.#trace = trace;
  }

  /** Length of the events of the completion. */
  get bytes(): number {
    return this.#bytes;
  }

  /** All of them or, if one does not fit its schema, none. */
  emit(events: readonly NewEvent[]): void {
    const made = this.#made(events);
    for (const event of made) this.#bytes += lengthOfEvent(event);
    this.completed.push(...made);
  }

  emitBatch(events: readonly NewEvent[]): void {
    const batchGroup = `batch ${++this.#batches} of the handler`;
    this.emit(events.map((event) => ({ ...event, batchGroup })));
  }

  emitOnFailure(events: readonly NewEvent[]): void {
    this.givenUp.push(...this.#made(events));
  }

  #made(events: readonly NewEvent[]): EmittedEvent[] {
    const trace = this.#trace();
    return events.map((event) => {
      const made = toEmittedEvent(this.#schemas, event);
      return trace ? { ...made, headers: tracedHeaders(made.headers, trace) } : made;
    });
  }
}
