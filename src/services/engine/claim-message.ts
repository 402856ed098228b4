/** A granted lease as the contract's Claim. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type Failure, FailureSchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import { JoinedInputSchema, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import { type Claim, TriggerSchema } from '../../../gen/tailrace/v1/lease_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { ResumeInfo } from '../../../gen/tailrace/v1/signal_pb.js';
import { TraceContextSchema } from '../../../gen/tailrace/v1/trace_pb.js';
import type { Registry } from '../../dispatch/registry.js';
import type { Granted, JoinedSlot, TriggerRow } from '../../repository/claims/index.js';
import { toBatchPosition, toEvent } from '../conversion/event.js';
import { toOptionalPayload } from '../conversion/payload.js';
import { toDuration, toTimestamp } from '../conversion/times.js';
import { toTraceContext, traceOfClaim } from '../conversion/trace.js';

const DEFAULT_MAX_ATTEMPTS = 5;

export function toClaim(
  granted: Granted,
  inputs: readonly JoinedSlot[],
  resume: ResumeInfo | undefined,
  trigger: TriggerRow | undefined,
  namespace: string,
  leaseMs: number,
  registry: Registry,
): Claim {
  const line = registry.claimClass(granted.class);
  const trace = traceOfClaim(granted, trigger);
  const input =
    granted.input_type === null && trigger
      ? toOptionalPayload(trigger.payload_type, trigger.payload)
      : toOptionalPayload(granted.input_type, granted.input);
  // What create() would make, at a fraction of its cost.
  return {
    $typeName: 'tailrace.v1.Claim',
    executionId: granted.execution,
    lease: {
      $typeName: 'tailrace.v1.Lease',
      executionId: granted.execution,
      leaseId: granted.lease,
      fencingToken: granted.token,
      expireTime: toTimestamp(granted.expires_at),
      duration: toDuration(leaseMs),
    },
    namespace,
    type: line?.type ?? '',
    lane: line?.laneName ?? '',
    priority: granted.priority,
    attemptNumber: granted.attempt,
    attemptKind: granted.kind,
    input,
    tags: { ...granted.tags },
    idempotencyKey: granted.root,
    createTime: toTimestamp(granted.created_at),
    deadlineTime: toTimestamp(granted.deadline),
    attemptTimeoutTime: toTimestamp(granted.timeout_at),
    previousFailure: previousFailureOf(granted),
    failureCount: granted.failures,
    maxAttempts: granted.retry_max ?? DEFAULT_MAX_ATTEMPTS,
    redriveOfExecutionId: granted.redrive_of ?? '',
    flowId: granted.flow ?? '',
    parentExecutionId: granted.parent ?? '',
    concurrencyKey: granted.concurrency_key ?? '',
    orderingKey: granted.ordering_key ?? '',
    hops: granted.hops,
    batch: toBatchPosition(granted),
    trigger: trigger && create(TriggerSchema, toTrigger(granted, trigger, namespace)),
    joinedInputs: inputs.map((slot) => create(JoinedInputSchema, toJoinedInput(slot))),
    resume,
    traceContext: trace && create(TraceContextSchema, toTraceContext(trace)),
  };
}

function previousFailureOf(granted: Granted): Failure | undefined {
  const { previous_class: failureClass, previous_message: message, previous_code: code } = granted;
  return failureClass === null
    ? undefined
    : create(FailureSchema, { failureClass, message: message ?? '', code: code ?? '' });
}

/** The event without its payload, which is the input, and without its place in the log; or the opening of the dead letter. */
function toTrigger(
  { subscription_version: version }: Granted,
  row: TriggerRow,
  namespace: string,
): MessageInitShape<typeof TriggerSchema> {
  const { id, payload_type: type } = row;
  const event =
    id === null ? undefined : toEvent({ ...row, id, payload: null, omitted: type !== null, position: null }, () => '');
  return {
    subscription: row.subscription,
    subscriptionVersion: version ?? 0n,
    subject: event ? { case: 'event', value: event } : openingOf(row, namespace),
  };
}

function openingOf(row: TriggerRow, namespace: string): NonNullable<MessageInitShape<typeof TriggerSchema>['subject']> {
  if (row.handles === null) return { case: undefined };
  const value = {
    kind: LogEntryKind.DEAD_LETTER_OPENED,
    namespace,
    subject: row.handles,
    lane: row.letter_lane ?? '',
    type: row.letter_type ?? '',
    flowId: row.letter_flow ?? '',
    tags: { ...row.letter_tags },
    ...(row.letter_at && { createTime: toTimestamp(row.letter_at) }),
  };
  return { case: 'entry', value };
}

function toJoinedInput(slot: JoinedSlot): MessageInitShape<typeof JoinedInputSchema> {
  const payload = slot.omitted ? undefined : toOptionalPayload(slot.payload_type, slot.payload);
  return {
    name: slot.name,
    index: slot.idx,
    outcome: slot.outcome ?? SlotOutcome.UNSPECIFIED,
    executionId: slot.upstream ?? '',
    type: slot.type ?? '',
    source: slot.source ?? '',
    eventId: slot.event ?? '',
    payloadOmitted: slot.omitted,
    ...(payload && { payload }),
    ...(slot.outcome === SlotOutcome.FAILED && {
      failure: {
        failureClass: slot.failure_class ?? 0,
        message: slot.message ?? '',
        code: slot.failure_code ?? '',
      },
    }),
  };
}
