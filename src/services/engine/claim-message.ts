/** A granted lease as the contract's Claim. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type JoinedInputSchema, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import { type Claim, ClaimSchema, type TriggerSchema } from '../../../gen/tailrace/v1/lease_pb.js';
import type { ResumeInfo } from '../../../gen/tailrace/v1/signal_pb.js';
import type { Registry } from '../../dispatch/registry.js';
import type { Granted, JoinedSlot, TriggerRow } from '../../repository/claims/index.js';
import { toBatchPosition, toEvent } from '../conversion/event.js';
import { toOptionalPayload } from '../conversion/payload.js';
import { toDuration, toTimestamp } from '../conversion/times.js';

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
  const input =
    granted.input_type === null && trigger
      ? toOptionalPayload(trigger.payload_type, trigger.payload)
      : toOptionalPayload(granted.input_type, granted.input);
  return create(ClaimSchema, {
    executionId: granted.execution,
    lease: {
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
    ...(input && { input }),
    tags: { ...granted.tags },
    idempotencyKey: granted.root,
    createTime: toTimestamp(granted.created_at),
    ...(granted.deadline && { deadlineTime: toTimestamp(granted.deadline) }),
    ...(granted.timeout_at && { attemptTimeoutTime: toTimestamp(granted.timeout_at) }),
    ...(granted.previous_class !== null && {
      previousFailure: {
        failureClass: granted.previous_class,
        message: granted.previous_message ?? '',
        code: granted.previous_code ?? '',
      },
    }),
    failureCount: granted.failures,
    maxAttempts: granted.retry_max ?? DEFAULT_MAX_ATTEMPTS,
    redriveOfExecutionId: granted.redrive_of ?? '',
    flowId: granted.flow ?? '',
    parentExecutionId: granted.parent ?? '',
    concurrencyKey: granted.concurrency_key ?? '',
    orderingKey: granted.ordering_key ?? '',
    hops: granted.hops,
    batch: toBatchPosition(granted),
    ...(trigger && { trigger: toTrigger(granted, trigger) }),
    joinedInputs: inputs.map(toJoinedInput),
    ...(resume && { resume }),
  });
}

/** The event without its payload, which is the input, and without its place in the log. */
function toTrigger(
  { subscription_version: version }: Granted,
  row: TriggerRow,
): MessageInitShape<typeof TriggerSchema> {
  const { id, payload_type: type } = row;
  const event =
    id === null ? undefined : toEvent({ ...row, id, payload: null, omitted: type !== null, position: null }, () => '');
  return {
    subscription: row.subscription,
    subscriptionVersion: version ?? 0n,
    subject: event ? { case: 'event', value: event } : { case: undefined },
  };
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
