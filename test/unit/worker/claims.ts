/** Claims and answers as an engine would make them. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type RenewLeaseResult, RenewLeaseResultSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorCode, type ItemError, ItemErrorSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { type Claim, ClaimSchema } from '../../../gen/tailrace/v1/lease_pb.js';
import { monotonicMs } from '../../../src/runtime/clock.js';
import { HeldLease } from '../../../src/worker/held-lease.js';

export const LEASE_MS = 6_000;
/** When the grants of these claims happened, on the database's clock. */
export const GRANT_MS = 1_700_000_000_000;

type More = Omit<MessageInitShape<typeof ClaimSchema>, '$typeName' | 'lease'>;

export function claimOf(executionId: string, more: More = {}, fencingToken = 1n): Claim {
  return create(ClaimSchema, {
    executionId,
    type: 'test',
    lane: 'default',
    attemptNumber: 1,
    ...more,
    lease: {
      executionId,
      leaseId: `lease ${fencingToken} of ${executionId}`,
      fencingToken,
      duration: durationFromMs(LEASE_MS),
      expireTime: timestampFromMs(GRANT_MS + LEASE_MS),
    },
  });
}

export function heldLease(executionId = 'e1', more: More = {}, fencingToken = 1n): HeldLease {
  return new HeldLease(claimOf(executionId, more, fencingToken), monotonicMs());
}

export function itemError(reason: string, metadata: Record<string, string> = {}): ItemError {
  return create(ItemErrorSchema, {
    code: ErrorCode.FAILED_PRECONDITION,
    message: `refused: ${reason}`,
    detail: { reason, metadata },
  });
}

export function renewed(): RenewLeaseResult {
  return create(RenewLeaseResultSchema, { result: { case: 'ok', value: {} } });
}

export function notRenewed(reason: string, metadata: Record<string, string> = {}): RenewLeaseResult {
  return create(RenewLeaseResultSchema, { result: { case: 'error', value: itemError(reason, metadata) } });
}
