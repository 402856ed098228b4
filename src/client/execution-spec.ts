/** What a caller writes to ask for an execution, and the message made from it. */
import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromDate } from '@bufbuild/protobuf/wkt';
import type { RetryPolicySchema } from '../../gen/tailrace/v1/attempt_pb.js';
import { DeadHeadPolicy, type ExecutionSpecSchema } from '../../gen/tailrace/v1/execution_pb.js';
import { toPayload } from './content.js';
import type { AnyEvents, EventSchemas } from './event-schemas.js';
import { type NewFailureEvent, toFailureEvent } from './new-event.js';

export interface NewExecution<E extends EventSchemas = AnyEvents> {
  /** Names the handler. 1 to 200 bytes. */
  readonly type: string;
  /** Any JSON value, bytes, or what `text()` and `bytes()` make. At most 1 MiB unless the server says otherwise. */
  readonly input?: unknown;
  /** Up to 64 bytes; made on first use. Default `default`. */
  readonly lane?: string;
  /**
   * Makes a repeat answer the first execution: the same id with other content is refused with REQUEST_ID_REUSED.
   * 1 to 200 bytes. Default: a random one, which protects the client's own retries only.
   */
  readonly requestId?: string;
  /** A UUIDv7 made by the caller. Default: the server makes one. */
  readonly executionId?: string;
  /** Higher is claimed first within a lane. −1000 to 1000, default 0. */
  readonly priority?: number;
  /** Earliest start, on the database's clock. At most one of `runTime` and `delayMs`. */
  readonly runTime?: Date;
  /** Earliest start as a span from now. Milliseconds. */
  readonly delayMs?: number;
  /** Longest time until its first attempt starts. Milliseconds, at least 100. Default: the lane's, else none. */
  readonly ttlMs?: number;
  /** When it must have ended, on the database's clock. Default: never. */
  readonly deadline?: Date;
  /** Longest run of one attempt. Milliseconds, 100 to 30 days. Default: the lane's, else none. */
  readonly attemptTimeoutMs?: number;
  /** What is left out comes from the lane, else from the engine. */
  readonly retry?: RetryRules;
  /** For people and filters: up to 32, keys up to 64 bytes, values up to 256. */
  readonly tags?: Readonly<Record<string, string>>;
  /** A worker must offer all of these. Up to 64. */
  readonly requiredCapabilities?: readonly string[];
  /** Executions with the same key share a limit and take turns with other keys. Up to 200 bytes. */
  readonly concurrencyKey?: string;
  /** Executions with the same key run one after the other, in order of creation. Up to 200 bytes. */
  readonly orderingKey?: string;
  /**
   * With an ordering key: what it does to those behind it if it is given up. They wait until somebody decides (`block`,
   * default), or go on.
   */
  readonly deadHead?: 'block' | 'skip';
  /** Published when it is given up, in the same transaction. */
  readonly failureEvents?: readonly NewFailureEvent<E>[];
  /** An open flow to join. Default: none. */
  readonly flowId?: string;
  /** In a flow: whether the flow can succeed without it. Default false. */
  readonly optionalInFlow?: boolean;
}

/** An execution that is made as part of something with a request id of its own: of a flow, or by its parent. */
export type MemberExecution<E extends EventSchemas = AnyEvents> = Omit<NewExecution<E>, 'requestId' | 'flowId'>;

/** What an execution makes in its own name, in its own flow. */
export type ChildExecution<E extends EventSchemas = AnyEvents> = Omit<MemberExecution<E>, 'executionId'>;

export interface RetryRules {
  /** Counted failures that end it, 1 to 1000; 1 means no retry. Engine's default 5. */
  readonly maxAttempts?: number;
  /** Milliseconds, 10 to 1 day. Engine's default 1,000. */
  readonly initialBackoffMs?: number;
  /** 1 to 100. Engine's default 2. */
  readonly backoffFactor?: number;
  /** Milliseconds, at most 30 days. Engine's default 300,000. */
  readonly maxBackoffMs?: number;
  /** Lost leases that are taken up again, 1 to 1000. Engine's default 20. */
  readonly maxReclaims?: number;
  /** Whether a lost lease counts as a failure. Engine's default true. */
  readonly countLostLeases?: boolean;
}

/** Throws an EventContentError for a failure event that does not fit its schema. */
export function toSpec<E extends EventSchemas>(asked: NewExecution<E>, schemas?: EventSchemas) {
  return { ...toMemberSpec(asked, schemas), requestId: asked.requestId ?? randomUUID(), flowId: asked.flowId ?? '' };
}

export function toMemberSpec<E extends EventSchemas>(asked: MemberExecution<E>, schemas?: EventSchemas) {
  const input = toPayload(asked.input);
  return {
    type: asked.type,
    executionId: asked.executionId ?? '',
    lane: asked.lane ?? '',
    priority: asked.priority ?? 0,
    tags: { ...asked.tags },
    requiredCapabilities: [...(asked.requiredCapabilities ?? [])],
    concurrencyKey: asked.concurrencyKey ?? '',
    orderingKey: asked.orderingKey ?? '',
    deadHeadPolicy: asked.deadHead === 'skip' ? DeadHeadPolicy.SKIP : DeadHeadPolicy.UNSPECIFIED,
    failureEvents: (asked.failureEvents ?? []).map((declared) => toFailureEvent(schemas, declared)),
    optionalInFlow: asked.optionalInFlow ?? false,
    ...(input && { input }),
    ...(asked.runTime && { runTime: timestampFromDate(asked.runTime) }),
    ...(asked.deadline && { deadlineTime: timestampFromDate(asked.deadline) }),
    ...(asked.delayMs !== undefined && { delay: durationFromMs(asked.delayMs) }),
    ...(asked.ttlMs !== undefined && { ttl: durationFromMs(asked.ttlMs) }),
    ...(asked.attemptTimeoutMs !== undefined && { attemptTimeout: durationFromMs(asked.attemptTimeoutMs) }),
    ...(asked.retry && { retryPolicy: toPolicy(asked.retry) }),
  } satisfies MessageInitShape<typeof ExecutionSpecSchema>;
}

export function toPolicy(rules: RetryRules): MessageInitShape<typeof RetryPolicySchema> {
  const { initialBackoffMs, maxBackoffMs, countLostLeases } = rules;
  return {
    maxAttempts: rules.maxAttempts ?? 0,
    backoffFactor: rules.backoffFactor ?? 0,
    maxReclaims: rules.maxReclaims ?? 0,
    ...(initialBackoffMs !== undefined && { initialBackoff: durationFromMs(initialBackoffMs) }),
    ...(maxBackoffMs !== undefined && { maxBackoff: durationFromMs(maxBackoffMs) }),
    ...(countLostLeases !== undefined && { countLostLeases }),
  };
}
