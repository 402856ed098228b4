/**
 * What a join hands to the execution it released: results of flow upstreams or of children, in order and by name, or the
 * events of a batch.
 *
 * Results that are left out of a claim for their size are read when they are asked for. Reading one that was left out
 * as if it were there fails instead of finding nothing.
 */
import type { Failure } from '../../gen/tailrace/v1/attempt_pb.js';
import { type JoinedInput as JoinedInputMessage, SlotOutcome } from '../../gen/tailrace/v1/join_pb.js';
import { Content, ContentError } from '../client/content.js';

/** `unfilled`: the upstream had not ended when the join was satisfied. */
export type InputOutcome = 'ok' | 'failed' | 'skipped' | 'unfilled';

/** What filled a slot. */
export interface Source {
  readonly executionId: string;
  /** For a batch; empty for others. */
  readonly eventId: string;
}

/** Reads the whole result of an execution, or payload of an event. */
export type ReadResult = (of: Source) => Promise<Content>;

const OUTCOMES: Readonly<Record<SlotOutcome, InputOutcome>> = {
  [SlotOutcome.UNSPECIFIED]: 'unfilled',
  [SlotOutcome.OK]: 'ok',
  [SlotOutcome.FAILED]: 'failed',
  [SlotOutcome.SKIPPED]: 'skipped',
};

export class JoinedInput {
  /** Of the edge or child; by default an upstream's local name, and a child's type, which others may have too. */
  readonly name: string;
  /** Place in the declaration, from 0. */
  readonly index: number;
  readonly outcome: InputOutcome;
  /** The execution behind it, and its type. */
  readonly executionId: string;
  readonly type: string;
  /** The event that filled the slot of a batch; empty for others. */
  readonly eventId: string;
  /** Where the join counts distinct sources. */
  readonly source: string;
  readonly failure: Failure | undefined;
  /** Whether there is a result that was left out for its size: read it with `inputs.read()`. */
  readonly omitted: boolean;
  readonly #content: Content;

  constructor(message: JoinedInputMessage) {
    this.name = message.name;
    this.index = message.index;
    this.outcome = OUTCOMES[message.outcome] ?? 'unfilled';
    this.executionId = message.executionId;
    this.type = message.type;
    this.eventId = message.eventId;
    this.source = message.source;
    this.failure = message.failure;
    this.omitted = message.payloadOmitted;
    this.#content = new Content(message.payload);
  }

  /** Its result; empty if there is none. Throws a ContentError if it was left out. */
  get content(): Content {
    if (this.omitted) throw new ContentError(`the result of ${this.name} was left out for its size: read() it`);
    return this.#content;
  }
}

export class JoinedInputs implements Iterable<JoinedInput> {
  /** In the order of their declaration. */
  readonly list: readonly JoinedInput[];
  readonly #read: ReadResult;
  readonly #byName = new Map<string, JoinedInput>();

  constructor(messages: readonly JoinedInputMessage[], read: ReadResult) {
    this.list = messages.map((message) => new JoinedInput(message));
    this.#read = read;
    for (const input of this.list) if (!this.#byName.has(input.name)) this.#byName.set(input.name, input);
  }

  /** The first of this name. */
  get(name: string): JoinedInput | undefined {
    return this.#byName.get(name);
  }

  /** Its whole result, from the claim or, if it was left out for its size, from the server. Throws if there is no such input. */
  async read(input: string | JoinedInput): Promise<Content> {
    const found = typeof input === 'string' ? this.get(input) : input;
    if (!found) throw new RangeError(`there is no input named ${input}`);
    return found.omitted ? await this.#read(found) : found.content;
  }

  [Symbol.iterator](): Iterator<JoinedInput> {
    return this.list[Symbol.iterator]();
  }
}
