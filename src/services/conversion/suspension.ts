/** Suspensions and waitpoints in the words of the contract. Tokens are added by those who tell the holder. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type Suspension,
  SuspensionSchema,
  type Waitpoint,
  WaitpointSchema,
} from '../../../gen/tailrace/v1/signal_pb.js';
import type { SuspensionObject, WaitpointObject } from '../../repository/suspensions/index.js';
import { toCondition } from './condition.js';
import { toDuration, toTimestamp } from './times.js';

export function toSuspension(found: SuspensionObject): Suspension {
  return create(SuspensionSchema, {
    executionId: found.execution,
    suspensionNumber: found.number,
    reason: found.reason,
    condition: toCondition(found.condition),
    waitpoints: found.waitpoints.map((waitpoint) => toWaitpoint(waitpoint)),
    satisfierCount: found.satisfiers,
    suspendTime: toTimestamp(new Date(found.suspended_at)),
    timeoutBehavior: found.behavior,
    resumeDelay: toDuration(found.resume_delay_ms),
    escalated: found.escalated,
    note: found.note,
    ...(found.timeout_at !== null && { timeoutTime: toTimestamp(new Date(found.timeout_at)) }),
  } satisfies MessageInitShape<typeof SuspensionSchema>);
}

/** `token`: for the holder of the execution; nobody else is told. */
export function toWaitpoint(found: WaitpointObject, token = ''): Waitpoint {
  return create(WaitpointSchema, {
    key: found.key,
    executionId: found.execution,
    state: found.state,
    signalCount: found.signals,
    createTime: toTimestamp(new Date(found.created_at)),
    expireTime: toTimestamp(new Date(found.expires_at)),
    token,
  });
}
