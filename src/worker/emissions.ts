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

export type EmittedEvent = MessageInitShape<typeof EmittedEventSchema> & { readonly payload?: Payload };

/** Type, ids and what else is said of an event besides its payload, roughly. */
const ENVELOPE_BYTES = 256;

export function lengthOfEvent({ payload }: EmittedEvent): number {
  return ENVELOPE_BYTES + lengthOf(payload);
}

export class Emissions {
  readonly completed: EmittedEvent[] = [];
  readonly givenUp: EmittedEvent[] = [];
  readonly #schemas: EventSchemas | undefined;
  #batches = 0;
  #bytes = 0;

  constructor(schemas?: EventSchemas) {
    this.#schemas = schemas;
  }

  /** Length of the events of the completion. */
  get bytes(): number {
    return this.#bytes;
  }

  /** All of them or, if one does not fit its schema, none. */
  emit(events: readonly NewEvent[]): void {
    const made = events.map((event) => toEmittedEvent(this.#schemas, event));
    for (const event of made) this.#bytes += lengthOfEvent(event);
    this.completed.push(...made);
  }

  emitBatch(events: readonly NewEvent[]): void {
    const batchGroup = `batch ${++this.#batches} of the handler`;
    this.emit(events.map((event) => ({ ...event, batchGroup })));
  }

  emitOnFailure(events: readonly NewEvent[]): void {
    this.givenUp.push(...events.map((event) => toEmittedEvent(this.#schemas, event)));
  }
}
