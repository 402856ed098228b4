/** What a caller writes to ask that events become executions, typed by the schemas of events, and the message made from it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { DeadHeadPolicy } from '../../gen/tailrace/v1/execution_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import type { KeySourceSchema, SubscriptionSpecSchema } from '../../gen/tailrace/v1/subscription_pb.js';
import type { AnyEvents, EventSchemas, EventType } from './event-schemas.js';
import { type NewExecution, toPolicy } from './execution-spec.js';
import { type JoinRules, toJoinPolicy } from './join-rules.js';
import { type NewFailureEvent, toFailureEvent } from './new-event.js';

/** A type, or the beginning of types up to a dot: `order.placed`, `order.*`; `*` is every type. */
export type EventPattern<E extends EventSchemas = AnyEvents> = EventType<E> | Beginning<EventType<E>> | '*';

type Beginning<T extends string> = string extends T
  ? string
  : T extends `${infer Head}.${infer Rest}`
    ? `${Head}.*` | `${Head}.${Beginning<Rest>}`
    : never;

/** The types that a pattern stands for. */
export type Matching<E extends EventSchemas, P extends string> =
  string extends EventType<E>
    ? string
    : P extends `${infer Head}*`
      ? Extract<EventType<E>, `${Head}${string}`>
      : Extract<EventType<E>, P>;

/** Conditions beside the type; all must hold. */
export interface EventConditions {
  /** One of these streams, or of those that begin like one that ends in `*`: `invoices/*`. Up to 64. */
  readonly streams?: readonly string[];
  /** Headers it must have, with these values. Up to 16. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Tags it must have, with these values. */
  readonly tags?: Readonly<Record<string, string>>;
  /** By JSON pointer, such as `/address/country`: the value there, as text, is one of these. Up to 16 of 64 values. */
  readonly payload?: Readonly<Record<string, string | readonly string[]>>;
}

/** Where a key is taken from. An event that lacks it has none. */
export type EventKey =
  | 'flow'
  | 'stream'
  | { readonly tag: string }
  | { readonly header: string }
  /** A JSON pointer into the payload. */
  | { readonly pointer: string };

type Inherited =
  | 'priority'
  | 'delayMs'
  | 'ttlMs'
  | 'attemptTimeoutMs'
  | 'retry'
  | 'requiredCapabilities'
  | 'optionalInFlow';

/** What the executions are like; `tags` go over those of the event, a delay begins with the event. */
export interface SubscriptionRules<E extends EventSchemas = AnyEvents> extends Pick<NewExecution, Inherited | 'tags'> {
  readonly where?: EventConditions;
  /** Longest time from routing to the end. Milliseconds. Default none. */
  readonly deadlineMs?: number;
  /** Executions with the same key share the lane's limit per key. Not together with `orderingKey`. */
  readonly concurrencyKey?: EventKey;
  /** Executions with the same key run one after the other, in the order of the log. Cannot be changed later. */
  readonly orderingKey?: EventKey;
  /** What one that is given up does to those behind it: they wait until somebody decides (`block`, default), or go on. */
  readonly deadHead?: 'block' | 'skip';
  /** Published when one of them is given up. */
  readonly failureEvents?: readonly NewFailureEvent<E>[];
  /** Where it begins when it is new: with what is published from now on (default), the oldest entry kept, or a cursor. */
  readonly start?: 'latest' | 'earliest' | { readonly cursor: string };
}

/** When a batch is complete. `timeoutMs` is 24 h by default. Its members go on in any case. */
export type BatchRules = Omit<JoinRules, 'distinctSources' | 'onSatisfied'>;

export interface NewSubscription<E extends EventSchemas = AnyEvents> extends SubscriptionRules<E> {
  /** Unique in the namespace. 1 to 200 bytes. */
  readonly name: string;
  readonly events: EventPattern<E> | readonly EventPattern<E>[];
  /** Type of the executions: names the handler. 1 to 200 bytes. */
  readonly type: string;
  /** Lane of the executions. Default `default`. */
  readonly lane?: string;
  /**
   * One execution per batch of events instead of one per event. `eventType`: what counts for its slot where an
   * execution emits several events; by default it must emit a single one.
   */
  readonly join?: BatchRules & { readonly eventType?: EventType<E> };
}

/** Throws an EventContentError for a failure event that does not fit its schema. */
export function toSubscriptionSpec<E extends EventSchemas>(
  schemas: EventSchemas | undefined,
  asked: NewSubscription<E>,
): MessageInitShape<typeof SubscriptionSpecSchema> {
  return { name: asked.name, type: asked.type, lane: asked.lane ?? '', ...filterOf(asked), ...rulesOf(schemas, asked) };
}

function filterOf<E extends EventSchemas>({ events, where = {} }: NewSubscription<E>) {
  const patterns: readonly string[] = typeof events === 'string' ? [events] : events;
  const types = patterns.includes('*') ? { exact: [], beginnings: [] } : sorted(patterns);
  const streams = sorted(where.streams ?? []);
  return {
    filter: { eventTypes: types.exact, streams: streams.exact, tags: { ...where.tags } },
    eventTypePrefixes: types.beginnings,
    streamPrefixes: streams.beginnings,
    headers: { ...where.headers },
    payloadMatches: Object.entries(where.payload ?? {}).map(([pointer, values]) => {
      return { pointer, values: typeof values === 'string' ? [values] : [...values] };
    }),
  };
}

function sorted(patterns: readonly string[]) {
  const beginnings = patterns.filter((pattern) => pattern.endsWith('*'));
  return {
    exact: patterns.filter((pattern) => !pattern.endsWith('*')),
    beginnings: beginnings.map((pattern) => pattern.slice(0, -1)),
  };
}

function rulesOf<E extends EventSchemas>(schemas: EventSchemas | undefined, asked: NewSubscription<E>) {
  const { delayMs, ttlMs, deadlineMs, attemptTimeoutMs, retry, concurrencyKey, orderingKey, join, start } = asked;
  return {
    priority: asked.priority ?? 0,
    requiredCapabilities: [...(asked.requiredCapabilities ?? [])],
    tags: { ...asked.tags },
    optionalInFlow: asked.optionalInFlow ?? false,
    deadHeadPolicy: asked.deadHead === 'skip' ? DeadHeadPolicy.SKIP : DeadHeadPolicy.UNSPECIFIED,
    failureEvents: (asked.failureEvents ?? []).map((declared) => toFailureEvent(schemas, declared)),
    ...(delayMs !== undefined && { delay: durationFromMs(delayMs) }),
    ...(ttlMs !== undefined && { ttl: durationFromMs(ttlMs) }),
    ...(deadlineMs !== undefined && { deadline: durationFromMs(deadlineMs) }),
    ...(attemptTimeoutMs !== undefined && { attemptTimeout: durationFromMs(attemptTimeoutMs) }),
    ...(retry && { retryPolicy: toPolicy(retry) }),
    ...(concurrencyKey && { concurrencyKey: toKeySource(concurrencyKey) }),
    ...(orderingKey && { orderingKey: toKeySource(orderingKey) }),
    ...(join && { batchJoin: toBatchJoin(join) }),
    ...startOf(start),
  };
}

function toKeySource(key: EventKey): MessageInitShape<typeof KeySourceSchema> {
  if (typeof key === 'string') return { source: { case: key, value: true } };
  if ('tag' in key) return { source: { case: 'tag', value: key.tag } };
  if ('header' in key) return { source: { case: 'header', value: key.header } };
  return { source: { case: 'pointer', value: key.pointer } };
}

function toBatchJoin({ eventType = '', ...rules }: BatchRules & { readonly eventType?: string }) {
  return { eventType, policy: toJoinPolicy(rules) };
}

function startOf(start: SubscriptionRules['start']) {
  if (typeof start === 'object') return { cursor: start.cursor };
  return start === undefined ? {} : { start: start === 'earliest' ? StartPosition.EARLIEST : StartPosition.LATEST };
}
