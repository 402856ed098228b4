/** What a holder shows to prove its right. */
import { z } from 'zod';
import type { LeaseRef } from '../../../gen/tailrace/v1/lease_pb.js';
import type { LeaseRef as HeldLease } from '../../repository/leases/index.js';
import { counter, id, type Shape } from '../validation.js';

export const leaseRef = z.object({ executionId: id, leaseId: id, fencingToken: counter } satisfies Shape<LeaseRef>);

/** Number of a namespace nobody created anything in: nothing is found there. */
export const NOWHERE = 0;

export function heldLease(ref: z.output<typeof leaseRef>, namespace: number | undefined): HeldLease {
  return { namespace: namespace ?? NOWHERE, execution: ref.executionId, lease: ref.leaseId, token: ref.fencingToken };
}
