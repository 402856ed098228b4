/** What a client may ask of an execution, and how that becomes the row to create. */
import { z } from 'zod';
import type { RetryPolicy } from '../../../gen/tailrace/v1/attempt_pb.js';
import { DeadHeadPolicy, DeadHeadPolicySchema, type ExecutionSpec } from '../../../gen/tailrace/v1/execution_pb.js';
import type { Registry } from '../../dispatch/registry.js';
import { wrongClientId } from '../../domain/ids.js';
import type { NewExecution } from '../../repository/executions/index.js';
import type { ClassKey, LaneDefaults } from '../../repository/registry/index.js';
import { wallMs } from '../../runtime/clock.js';
import { uuidV7 } from '../../runtime/random.js';
import type { TraceHeaders } from '../../runtime/traceparent.js';
import {
  always,
  CENTURY_MS,
  DAY_MS,
  duration,
  enumNumber,
  integer,
  integerOr,
  name,
  names,
  optionalId,
  optionalLane,
  optionalName,
  payload,
  refuse,
  requestId,
  type Shape,
  shown,
  tags,
  timestamp,
  traceContext,
} from '../validation.js';
import { contentHash, sortedEntries } from './content-hash.js';
import { failureEvents, failureEventsHash, storedFailureEvents } from './events/failure-event.js';

const MAX_ATTEMPTS = 1_000;
const MAX_CAPABILITIES = 64;
const LONGEST_MS = 30 * DAY_MS;

/** Zero or absent fields are null: the lane's default, else the engine's. */
export const retryPolicy = z
  .object({
    maxAttempts: integerOr(0, 1, MAX_ATTEMPTS).transform(zeroToNull),
    initialBackoff: duration(10, DAY_MS),
    backoffFactor: z.number().check((context) => {
      const { value } = context;
      if (value === 0 || (value >= 1 && value <= 100)) return;
      refuse(context.issues, value, `must be from 1 to 100; it is ${value}`);
    }),
    maxBackoff: duration(0, LONGEST_MS),
    maxReclaims: integerOr(0, 1, MAX_ATTEMPTS).transform(zeroToNull),
    countLostLeases: z.boolean().optional(),
  } satisfies Shape<RetryPolicy>)
  .check((context) => {
    const { initialBackoff, maxBackoff } = context.value;
    if (initialBackoff !== null && maxBackoff !== null && maxBackoff < initialBackoff) {
      refuse(context.issues, maxBackoff, 'must be at least initial_backoff', ['maxBackoff']);
    }
  })
  .transform((policy) => ({
    maxAttempts: policy.maxAttempts,
    initialMs: policy.initialBackoff,
    factor: policy.backoffFactor === 0 ? null : policy.backoffFactor,
    capMs: policy.maxBackoff,
    maxReclaims: policy.maxReclaims,
    countLost: policy.countLostLeases ?? null,
  }))
  .optional();

/** An id that the client may make; null when it leaves that to the server. */
export const clientId = optionalId.check((context) => {
  const { value } = context;
  const wrong = value === null ? undefined : wrongClientId(value, wallMs());
  if (wrong !== undefined) refuse(context.issues, value, `${wrong}; it is "${value}"`);
});

/**
 * Where a spec stands: by itself; as a member of the flow that the call makes or extends; as a child of the holder, which
 * joins its parent's flow. Members and children are made with their call, once, so nothing of theirs protects a repeat.
 */
export type SpecPlace = 'alone' | 'member' | 'child';

const NOT_THERE: Readonly<Record<Exclude<SpecPlace, 'alone'>, readonly ('executionId' | 'requestId' | 'flowId')[]>> = {
  member: ['requestId', 'flowId'],
  child: ['executionId', 'requestId', 'flowId'],
};

export function executionSpec(maxPayloadBytes: number, place: SpecPlace) {
  return z
    .object({
      executionId: clientId,
      requestId,
      lane: optionalLane,
      type: name(),
      input: payload(maxPayloadBytes),
      priority: integer(-1_000, 1_000),
      runTime: timestamp,
      delay: duration(0, CENTURY_MS),
      ttl: duration(100, CENTURY_MS),
      deadlineTime: timestamp,
      attemptTimeout: duration(100, LONGEST_MS),
      retryPolicy,
      tags,
      requiredCapabilities: names(MAX_CAPABILITIES),
      concurrencyKey: optionalName(),
      orderingKey: optionalName(),
      deadHeadPolicy: enumNumber(DeadHeadPolicySchema),
      flowId: optionalId,
      optionalInFlow: z.boolean(),
      failureEvents: failureEvents(maxPayloadBytes),
      traceContext,
    } satisfies Shape<ExecutionSpec>)
    .check(always(refuseKeys))
    .check((context) => {
      const { runTime, delay, deadlineTime, flowId, optionalInFlow } = context.value;
      if (place === 'alone') {
        if (optionalInFlow && flowId === null) {
          refuse(context.issues, optionalInFlow, 'needs flow_id', ['optionalInFlow']);
        }
      } else {
        for (const field of NOT_THERE[place]) {
          const value = context.value[field];
          if (value !== null)
            refuse(context.issues, value, `must be empty for a ${place}; it is ${shown(value)}`, [field]);
        }
      }
      if (runTime !== null && delay !== null) {
        refuse(context.issues, delay, 'must be absent when run_time is given', ['delay']);
      }
      if (deadlineTime !== null && deadlineTime.getTime() <= wallMs()) {
        refuse(context.issues, deadlineTime, 'must lie in the future', ['deadlineTime']);
      }
      if (deadlineTime !== null && runTime !== null && deadlineTime <= runTime) {
        refuse(context.issues, deadlineTime, 'must be later than run_time', ['deadlineTime']);
      }
    });
}

interface Keys {
  readonly concurrencyKey: string | null;
  readonly orderingKey: string | null;
  readonly deadHeadPolicy: number;
}

/** One of an ordering key runs alone, so a limit of its own would mean nothing. */
function refuseKeys({ value, issues }: z.core.ParsePayload<Keys>): void {
  const { concurrencyKey, orderingKey, deadHeadPolicy } = value;
  if (orderingKey !== null && concurrencyKey !== null) {
    refuse(issues, concurrencyKey, 'must be empty when ordering_key is given', ['concurrencyKey']);
  }
  if (orderingKey === null && deadHeadPolicy !== DeadHeadPolicy.UNSPECIFIED) {
    refuse(issues, deadHeadPolicy, 'needs ordering_key', ['deadHeadPolicy']);
  }
}

export type Spec = z.output<ReturnType<typeof executionSpec>>;

const DEFAULT_LANE = 'default';

function classKey(spec: Spec, namespace: number): ClassKey {
  return {
    namespace,
    lane: spec.lane ?? DEFAULT_LANE,
    type: spec.type,
    capabilities: [...spec.requiredCapabilities].sort(),
  };
}

/** What the spec leaves open is filled in from the lane now, so that a later change of the lane leaves it alone. */
function toNewExecution(
  spec: Spec,
  classId: number,
  lane: LaneDefaults,
  trace: TraceHeaders | undefined,
): NewExecution {
  const { retryPolicy: asked, flowId } = spec;
  return {
    id: spec.executionId ?? uuidV7(),
    namespace: lane.namespace,
    class: classId,
    requestId: spec.requestId ?? spec.executionId,
    hash: hashOf(spec),
    priority: spec.priority,
    runAt: spec.runTime,
    delayMs: spec.delay,
    ttlMs: spec.ttl ?? lane.ttlMs,
    deadline: spec.deadlineTime,
    timeoutMs: spec.attemptTimeout ?? lane.timeoutMs,
    retry: {
      maxAttempts: asked?.maxAttempts ?? lane.retry.maxAttempts,
      initialMs: asked?.initialMs ?? lane.retry.initialMs,
      factor: asked?.factor ?? lane.retry.factor,
      capMs: asked?.capMs ?? lane.retry.capMs,
      maxReclaims: asked?.maxReclaims ?? lane.retry.maxReclaims,
      countLost: asked?.countLost ?? lane.retry.countLost,
    },
    tags: spec.tags,
    input: spec.input,
    redrive: null,
    flow: flowId === null ? null : { id: flowId, optional: spec.optionalInFlow },
    parent: null,
    concurrencyKey: spec.concurrencyKey,
    orderingKey: spec.orderingKey,
    deadHead: spec.orderingKey === null ? null : spec.deadHeadPolicy || DeadHeadPolicy.BLOCK,
    failureEvents: storedFailureEvents(spec.failureEvents),
    trace: spec.traceContext ?? trace ?? null,
  };
}

/**
 * For a call that makes many, in the order of the specs. Lanes and classes they need are made on first use. `trace`: the call's,
 * for those that say nothing of one.
 */
export async function toNewExecutions(
  registry: Registry,
  namespace: number,
  specs: readonly Spec[],
  trace: TraceHeaders | undefined,
): Promise<NewExecution[]> {
  const classes = await registry.classesFor(specs.map((spec) => classKey(spec, namespace)));
  return specs.map((spec, i) => {
    const line = classes[i];
    const lane = line && registry.lane(line.lane);
    if (line === undefined || lane === undefined) throw new Error('a class has no lane');
    return toNewExecution(spec, line.id, lane, trace);
  });
}

const NO_HASH = Buffer.alloc(0);

/** Only what carries a key is ever compared. */
function hashOf(spec: Spec): Buffer {
  return spec.requestId === null && spec.executionId === null ? NO_HASH : specHash(spec);
}

/** Of everything but the request id, and the trace: whoever repeats a call is in another place of it. */
export function specHash(spec: Spec): Buffer {
  const { input, tags: labels, requiredCapabilities, requestId: _key, traceContext: _trace, ...asked } = spec;
  // As it came: requests that were stored when it was empty always keep their hash.
  const rest = {
    ...asked,
    concurrencyKey: asked.concurrencyKey ?? '',
    orderingKey: asked.orderingKey ?? '',
    failureEvents: failureEventsHash(asked.failureEvents),
  };
  return contentHash([rest, sortedEntries(labels), [...requiredCapabilities].sort()], input);
}

function zeroToNull(value: number): number | null {
  return value === 0 ? null : value;
}
