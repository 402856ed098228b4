/** What a batch join hands over: one member per event of the batch, by index, typed by the schema of the events. */
import type { Failure } from '../../gen/tailrace/v1/attempt_pb.js';
import type { Content } from '../client/content.js';
import {
  type AnyEvents,
  type EventSchemas,
  type EventType,
  type ReceivedPayload,
  receivedPayload,
} from '../client/event-schemas.js';
import type { InputOutcome, JoinedInput, JoinedInputs } from './joined-inputs.js';

export class BatchMember<P = unknown> {
  /** Place in the batch, from 0. */
  readonly index: number;
  /** How the slot was filled. `ok` without an event: whoever owned it ended well and emitted nothing for it. */
  readonly outcome: InputOutcome;
  /** Empty if no event filled it. */
  readonly eventId: string;
  /** The execution that owned the slot; empty if none did. */
  readonly executionId: string;
  readonly failure: Failure | undefined;
  readonly #read: () => Promise<P | undefined>;
  readonly #payload: () => P | undefined;

  constructor(input: JoinedInput, parse: (content: Content) => P, read: (input: JoinedInput) => Promise<Content>) {
    this.index = input.index;
    this.outcome = input.outcome;
    this.eventId = input.eventId;
    this.executionId = input.executionId;
    this.failure = input.failure;
    const parsed = (content: Content) => (input.eventId === '' ? undefined : parse(content));
    // One that does not fit its schema fails before the handler has begun.
    const payload = input.omitted ? undefined : parsed(input.content);
    this.#payload = () => (input.omitted ? parsed(input.content) : payload);
    this.#read = async () => (input.omitted ? parsed(await read(input)) : payload);
  }

  /** Of the event; undefined if there is none. Throws a ContentError if it was left out for its size: `read()` it. */
  get payload(): P | undefined {
    return this.#payload();
  }

  /** The same, from the server if it was left out. Throws an EventContentError if it does not fit its schema. */
  read(): Promise<P | undefined> {
    return this.#read();
  }
}

/** Throws an EventContentError for a payload that does not fit its schema. */
export function membersOf<E extends EventSchemas = AnyEvents, T extends EventType<E> = EventType<E>>(
  inputs: JoinedInputs,
  schemas: E | undefined,
  type: T,
): BatchMember<ReceivedPayload<E, T>>[] {
  const parse = (content: Content) => receivedPayload(schemas, type, content) as ReceivedPayload<E, T>;
  return inputs.list
    .map((input) => new BatchMember(input, parse, (left) => inputs.read(left)))
    .sort((a, b) => a.index - b.index);
}
