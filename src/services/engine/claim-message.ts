/** A granted lease as the contract's Claim. */
import { create } from '@bufbuild/protobuf';
import { type Claim, ClaimSchema } from '../../../gen/tailrace/v1/lease_pb.js';
import type { Registry } from '../../dispatch/registry.js';
import type { Granted } from '../../repository/claims/index.js';
import { toOptionalPayload } from '../conversion/payload.js';
import { toDuration, toTimestamp } from '../conversion/times.js';

const DEFAULT_MAX_ATTEMPTS = 5;

export function toClaim(granted: Granted, namespace: string, leaseMs: number, registry: Registry): Claim {
  const line = registry.claimClass(granted.class);
  const input = toOptionalPayload(granted.input_type, granted.input);
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
  });
}
