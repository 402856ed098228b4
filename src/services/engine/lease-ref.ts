/** What a holder shows to prove its right. */
import { z } from 'zod';
import type { LeaseRef } from '../../../gen/tailrace/v1/lease_pb.js';
import type { LeaseRef as HeldLease } from '../../repository/leases/index.js';
import { counter, id, type Shape } from '../validation.js';

export const leaseRef = z.object({ executionId: id, leaseId: id, fencingToken: counter } satisfies Shape<LeaseRef>);

/** A namespace nobody created anything in has number 0: nothing is found there. */
export function heldLease(ref: z.output<typeof leaseRef>, namespace: number | undefined): HeldLease {
  return { namespace: namespace ?? 0, execution: ref.executionId, lease: ref.leaseId, token: ref.fencingToken };
}
