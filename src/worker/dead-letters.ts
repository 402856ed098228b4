/**
 * Handlers of dead letters: what they are given, what they may do about it, and the subscriptions that bring it.
 *
 * A handler that succeeds has decided: what it neither redrove nor resolved stays open for a person. One that is given up
 * closes its letter as HANDLER_FAILED with its message.
 */
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import { type DeadLetter, DeadLetterResolution, DeadLetterSchema } from '../../gen/tailrace/v1/dead_letter_pb.js';
import type { DeadLetterService } from '../../gen/tailrace/v1/dead_letter_service_pb.js';
import { Content, toPayload } from '../client/content.js';
import { fromItemError } from '../client/errors.js';
import type { AnyEvents, EventSchemas } from '../client/event-schemas.js';
import { type LetterConditions, type LetterRules, toLetterSubscriptionSpec } from '../client/letter-subscription.js';
import { OptionRules } from '../client/option-rules.js';
import { retrying } from '../client/retry.js';
import type { HandlerContext } from './context.js';
import { PermanentError } from './handler-errors.js';

const CALL = { timeoutMs: 5_000 };
const CALLS_MS = 15_000;
const TYPE = 'dead-letter';
const RESOLUTIONS = {
  ignored: DeadLetterResolution.IGNORED,
  'handled by script': DeadLetterResolution.HANDLED_BY_SCRIPT,
  'redriven elsewhere': DeadLetterResolution.REDRIVEN_ELSEWHERE,
} as const;

export type LetterCalls = Pick<Client<typeof DeadLetterService>, 'redriveDeadLetter' | 'resolveDeadLetters'>;

export type DeadLetterHandler<E extends EventSchemas = AnyEvents> = (
  letter: ReceivedDeadLetter,
  context: HandlerContext<E>,
) => unknown;

export interface DeadLetterOptions extends LetterRules {
  /** Which letters. Default: all of the namespace. */
  readonly where?: LetterConditions;
  /** Of the subscription, unique in the namespace, 1 to 200 bytes. Default: lane and type, as `repairs/dead-letter`. */
  readonly name?: string;
  /** Lane of the executions, one of the worker's. Default: the first of them. */
  readonly lane?: string;
  /** Type of the executions. Default `dead-letter`. A second handler of letters needs another. */
  readonly type?: string;
}

export interface LetterRedriveOptions {
  /** Input in place of the original, which is kept. */
  readonly input?: unknown;
  /** For people. */
  readonly note?: string;
}

export class ReceivedDeadLetter {
  /** As it was opened. */
  readonly letter: DeadLetter;
  /** Of what was given up; empty where the letter says that it was left out. */
  readonly input: Content;
  readonly #calls: LetterCalls;
  readonly #context: Pick<HandlerContext, 'executionId' | 'signal'>;

  constructor(letter: DeadLetter, calls: LetterCalls, context: Pick<HandlerContext, 'executionId' | 'signal'>) {
    this.letter = letter;
    this.input = new Content(letter.input);
    this.#calls = calls;
    this.#context = context;
  }

  /** Runs it again, once however often the handler is tried, and answers the new execution; empty for events and entries. */
  async redrive({ input, note = '' }: LetterRedriveOptions = {}): Promise<string> {
    const { namespace, deadLetterId, version: expectedVersion } = this.letter;
    const edited = toPayload(input);
    const { executionId: requestId } = this.#context;
    const request = { namespace, deadLetterId, expectedVersion, requestId, note, ...(edited && { input: edited }) };
    return (await this.#call(() => this.#calls.redriveDeadLetter(request, CALL))).executionId;
  }

  /** Closes it. A repeat changes nothing. */
  async resolve(how: keyof typeof RESOLUTIONS, note = ''): Promise<void> {
    const { namespace, deadLetterId, version: expectedVersion } = this.letter;
    const deadLetters = [{ deadLetterId, expectedVersion }];
    const request = { namespace, deadLetters, resolution: RESOLUTIONS[how], note };
    const { results } = await this.#call(() => this.#calls.resolveDeadLetters(request, CALL));
    const [answer] = results;
    if (answer?.result.case === 'error') throw fromItemError(answer.result.value);
  }

  #call<T>(call: () => Promise<T>): Promise<T> {
    return retrying(call, { forMs: CALLS_MS, signal: this.#context.signal });
  }
}

/** Throws an InvalidOptionsError. */
export function letterSubscriptionOf(
  lanes: readonly string[],
  { name, lane = lanes[0] ?? 'default', type = TYPE, where = {}, ...rules }: DeadLetterOptions,
) {
  const subscription = { name: name ?? `${lane}/${type}`, lane, type };
  const options = new OptionRules();
  options.rule(lanes.includes(lane), `lane ${lane} is none of the worker's, which would not see what comes there`);
  options.name('type', type, 200);
  options.name('name', subscription.name, 200);
  options.check('handler of dead letters');
  return { ...toLetterSubscriptionSpec({ ...rules, ...subscription, deadLetters: where }), ...subscription };
}

/** What was handed over; what it is of is a matter of the subscription. */
export function receivedLetter(
  calls: LetterCalls,
  context: Pick<HandlerContext, 'input' | 'type' | 'executionId' | 'signal'>,
): ReceivedDeadLetter {
  const letter = readLetter(context.input);
  if (!letter) throw new PermanentError(`no dead letter has started this execution, and ${context.type} handles them`);
  return new ReceivedDeadLetter(letter, calls, context);
}

function readLetter(input: Content): DeadLetter | undefined {
  try {
    return fromJson(DeadLetterSchema, input.json() as JsonValue, { ignoreUnknownFields: true });
  } catch {
    return undefined;
  }
}
