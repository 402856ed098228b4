/**
 * Handlers of events: what they are given and may return, and the subscriptions that bring them what they handle.
 *
 * A payload that does not fit the schema of its type fails the execution for good, before the handler is called: another
 * attempt would read the same.
 */

import {
  type AnyEvents,
  type EventSchemas,
  type EventType,
  type ReceivedPayload,
  receivedPayload,
} from '../client/event-schemas.js';
import type { NewEvent } from '../client/new-event.js';
import { OptionRules } from '../client/option-rules.js';
import {
  type BatchRules,
  type EventPattern,
  type NewSubscription,
  type SubscriptionRules,
  toSubscriptionSpec,
} from '../client/subscription-spec.js';
import { type BatchMember, membersOf } from './batch-members.js';
import { ChildrenWait } from './children.js';
import type { Handler, HandlerContext } from './context.js';
import { PermanentError } from './handler-errors.js';
import type { EventEnvelope } from './trigger.js';

const NO_REACTION = 'a handler of events returns nothing, events, or { result, events }';

/** An event of one of these types: `type` tells which, and so what the payload is. */
export type ReceivedEvent<E extends EventSchemas = AnyEvents, T extends EventType<E> = EventType<E>> = {
  readonly [K in T]: Omit<EventEnvelope, 'type'> & { readonly type: K; readonly payload: ReceivedPayload<E, K> };
}[T];

/**
 * What a handler of events returns: nothing, events to publish with its completion, or a result with or without such events.
 * What it gave to `ctx.emit()` comes before them.
 */
export type Reaction<E extends EventSchemas = AnyEvents> =
  // biome-ignore lint/suspicious/noConfusingVoidType: a handler that returns nothing is one
  | void
  | NewEvent<E>
  | readonly NewEvent<E>[]
  | { readonly result?: unknown; readonly events?: readonly NewEvent<E>[]; readonly type?: never }
  | ChildrenWait;

export type EventHandler<E extends EventSchemas = AnyEvents, T extends EventType<E> = EventType<E>> = (
  event: ReceivedEvent<E, T>,
  context: HandlerContext<E>,
) => Reaction<E> | Promise<Reaction<E>>;

export type BatchHandler<E extends EventSchemas = AnyEvents, T extends EventType<E> = EventType<E>> = (
  members: readonly BatchMember<ReceivedPayload<E, T>>[],
  context: HandlerContext<E>,
) => Reaction<E> | Promise<Reaction<E>>;

export interface ReactionOptions<E extends EventSchemas = AnyEvents> extends SubscriptionRules<E> {
  /** Of the subscription, unique in the namespace, 1 to 200 bytes. Default: lane and type, as `orders/order.placed`. */
  readonly name?: string;
  /** Lane of the executions, one of the worker's. Default: the first of them. */
  readonly lane?: string;
  /**
   * Type of the executions. Default: that of the events, with `/batch` for a join. A second handler of the same events
   * needs another.
   */
  readonly type?: string;
}

export interface JoinOptions<E extends EventSchemas = AnyEvents> extends ReactionOptions<E>, BatchRules {}

/** The subscription of one `on()` or `join()`. Throws an InvalidOptionsError, or an EventContentError for a failure event. */
export function subscriptionOf<E extends EventSchemas>(
  schemas: E | undefined,
  lanes: readonly string[],
  events: readonly string[],
  { name, lane = lanes[0] ?? 'default', type, ...rules }: ReactionOptions<E> & Pick<NewSubscription<E>, 'join'>,
) {
  const what = type ?? (rules.join ? `${events.join('+')}/batch` : events.join('+'));
  const subscription = { name: name ?? `${lane}/${what}`, lane, type: what };
  const options = new OptionRules();
  options.rule(events.length > 0, 'a handler needs a type of event');
  options.rule(lanes.includes(lane), `lane ${lane} is none of the worker's, which would not see what comes there`);
  options.name('type', what, 200);
  options.name('name', subscription.name, 200);
  options.check(`handler of ${events.join(', ') || 'events'}`);
  const asked = { ...rules, ...subscription, events: events as readonly EventPattern<E>[] };
  return { ...toSubscriptionSpec(schemas, asked), ...subscription };
}

/** The handler of the executions that `on()` subscribes to. */
export function handlerOfEvents<E extends EventSchemas, T extends EventType<E>>(
  schemas: E | undefined,
  handler: EventHandler<E, T>,
): Handler<E> {
  return async (context) => taken(await handler(eventOf<E, T>(schemas, context), context), context);
}

/** The handler of the executions that `join()` subscribes to. */
export function handlerOfBatches<E extends EventSchemas, T extends EventType<E>>(
  schemas: E | undefined,
  type: T,
  handler: BatchHandler<E, T>,
): Handler<E> {
  return async (context) => taken(await handler(membersOf(context.inputs, schemas, type), context), context);
}

function eventOf<E extends EventSchemas, T extends EventType<E>>(
  schemas: E | undefined,
  context: HandlerContext<E>,
): ReceivedEvent<E, T> {
  const envelope = context.trigger?.event;
  if (!envelope) throw new PermanentError(`no event has started this execution, and ${context.type} handles events`);
  const payload = receivedPayload(schemas, envelope.type, context.input);
  return { ...envelope, payload } as ReceivedEvent<E, T>;
}

/** Emits what was returned, and answers the result. */
function taken<E extends EventSchemas>(returned: Reaction<E>, context: HandlerContext<E>): unknown {
  if (returned === undefined || returned === null || returned instanceof ChildrenWait) return returned ?? undefined;
  const { result, events } = apart(returned);
  // The compiler has seen them where they were written.
  context.emit(...(events as readonly NewEvent<E>[]));
  return result;
}

function apart(returned: unknown): { readonly result?: unknown; readonly events: readonly unknown[] } {
  if (Array.isArray(returned) && returned.every(isEvent)) return { events: returned };
  if (isEvent(returned)) return { events: [returned] };
  if (typeof returned !== 'object' || Array.isArray(returned)) throw new PermanentError(NO_REACTION);
  const { result, events = [], ...more } = returned as { result?: unknown; events?: unknown };
  const known = Object.keys(more).length === 0;
  if (!known || !Array.isArray(events) || !events.every(isEvent)) throw new PermanentError(NO_REACTION);
  return { result, events };
}

function isEvent(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}
