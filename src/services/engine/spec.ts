/** What a client may ask of an execution, and how that becomes the row to create. */
import { z } from 'zod';
import type { RetryPolicy } from '../../../gen/tailrace/v1/attempt_pb.js';
import type { ExecutionSpec } from '../../../gen/tailrace/v1/execution_pb.js';
import { wrongClientId } from '../../domain/ids.js';
import type { NewExecution } from '../../repository/executions/index.js';
import type { ClassKey, LaneDefaults } from '../../repository/registry/index.js';
import { wallMs } from '../../runtime/clock.js';
import { uuidV7 } from '../../runtime/random.js';
import {
  CENTURY_MS,
  DAY_MS,
  duration,
  integer,
  integerOr,
  name,
  names,
  optionalId,
  optionalLane,
  payload,
  refuse,
  requestId,
  type Shape,
  tags,
  timestamp,
  unbuilt,
} from '../validation.js';
import { contentHash, sortedEntries } from './content-hash.js';

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

export function executionSpec(maxPayloadBytes: number) {
  return z
    .object({
      executionId: optionalId.check((context) => {
        const { value } = context;
        const wrong = value === null ? undefined : wrongClientId(value, wallMs());
        if (wrong !== undefined) refuse(context.issues, value, `${wrong}; it is "${value}"`);
      }),
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
      concurrencyKey: unbuilt('concurrency keys'),
      orderingKey: unbuilt('ordering keys'),
      deadHeadPolicy: unbuilt('ordering keys'),
      flowId: unbuilt('flows'),
      optionalInFlow: unbuilt('flows'),
      failureEvents: unbuilt('events'),
    } satisfies Shape<ExecutionSpec>)
    .check((context) => {
      const { runTime, delay, deadlineTime } = context.value;
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

export type Spec = z.output<ReturnType<typeof executionSpec>>;

const DEFAULT_LANE = 'default';

export function classKey(spec: Spec, namespace: number): ClassKey {
  return {
    namespace,
    lane: spec.lane ?? DEFAULT_LANE,
    type: spec.type,
    capabilities: [...spec.requiredCapabilities].sort(),
  };
}

/** What the spec leaves open is filled in from the lane now, so that a later change of the lane leaves it alone. */
export function toNewExecution(spec: Spec, classId: number, lane: LaneDefaults): NewExecution {
  const { retryPolicy: asked } = spec;
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
  };
}

const NO_HASH = Buffer.alloc(0);

/** Only what carries a key is ever compared. */
function hashOf(spec: Spec): Buffer {
  if (spec.requestId === null && spec.executionId === null) return NO_HASH;
  const { input, tags: labels, requiredCapabilities, requestId: _key, ...rest } = spec;
  return contentHash([rest, sortedEntries(labels), [...requiredCapabilities].sort()], input);
}

function zeroToNull(value: number): number | null {
  return value === 0 ? null : value;
}
