/** RenewLeases and ReportProgress. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import type { Progress } from '../../../gen/tailrace/v1/attempt_pb.js';
import { type CancelRequest, CancelRequestSchema, LateCompletion } from '../../../gen/tailrace/v1/cancel_pb.js';
import {
  type LeaseRenewal,
  type RenewLeasesRequest,
  type RenewLeasesResponse,
  RenewLeasesResponseSchema,
  type ReportProgressRequest,
  type ReportProgressResponse,
  ReportProgressResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { type RenewedLease, RenewedLeaseSchema } from '../../../gen/tailrace/v1/lease_pb.js';
import type { EngineError } from '../../domain/errors.js';
import { isRefused, type RenewAnswer, type Renewed } from '../../repository/leases/index.js';
import { toTimestamp } from '../conversion/times.js';
import { list, namespace, refuse, type Shape, text, validate } from '../validation.js';
import type { EngineServiceDeps } from './deps.js';
import { leaseDuration } from './holder.js';
import { answerEach, checkItems, refuseRepeats } from './items.js';
import { heldLease, leaseRef } from './lease-ref.js';
import { refusalOf } from './refusals.js';
import { required } from './required.js';

const MAX_ITEMS = 1_000;
const MESSAGE_BYTES = 1_024;

const progress = z.object({
  percent: z.number().check((context) => {
    const { value } = context;
    if (value >= 0 && value <= 100) return;
    refuse(context.issues, value, `must be from 0 to 100; it is ${value}`);
  }),
  message: text(MESSAGE_BYTES),
  updateTime: z.unknown().optional(),
} satisfies Shape<Progress>);

const request = z.object({
  namespace,
  renewals: list(z.custom<LeaseRenewal>(), MAX_ITEMS, 1),
} satisfies Shape<RenewLeasesRequest>);

const renewal = z.object({
  lease: required(leaseRef),
  leaseDuration,
  progress: progress.optional(),
} satisfies Shape<LeaseRenewal>);

const report = z.object({
  namespace,
  lease: required(leaseRef),
  progress: required(progress),
} satisfies Shape<ReportProgressRequest>);

export function renewLeasesCall({ registry, writers }: EngineServiceDeps) {
  return async (message: RenewLeasesRequest): Promise<RenewLeasesResponse> => {
    const asked = validate(request, message);
    const namespaceId = await registry.namespace(asked.namespace);
    const checked = refuseRepeats(
      checkItems(renewal, asked.renewals, 'renewals'),
      (item) => item.lease.executionId,
      (i) => `renewals[${i}].lease.execution_id`,
    );
    const results = await answerEach(
      checked,
      (items) =>
        writers.renew(
          items.map((item) => ({
            ...heldLease(item.lease, namespaceId),
            leaseMs: item.leaseDuration,
            progress: item.progress ?? null,
          })),
        ),
      (answer, item) => toRenewed(answer, item.lease.executionId),
    );
    return create(RenewLeasesResponseSchema, { results });
  };
}

export function reportProgressCall({ registry, writers }: EngineServiceDeps) {
  return async (message: ReportProgressRequest): Promise<ReportProgressResponse> => {
    const asked = validate(report, message);
    const held = heldLease(asked.lease, await registry.namespace(asked.namespace));
    const [answer] = await writers.progress([{ ...held, leaseMs: null, progress: asked.progress }]);
    if (answer === undefined) throw new Error('a report was left without an answer');
    if (isRefused(answer)) throw refusalOf(answer, asked.lease.executionId);
    const cancelRequest = toCancelRequest(answer);
    return create(ReportProgressResponseSchema, { ...(cancelRequest && { cancelRequest }) });
  };
}

function toRenewed(answer: RenewAnswer, execution: string): RenewedLease | EngineError {
  if (isRefused(answer)) return refusalOf(answer, execution);
  const cancelRequest = toCancelRequest(answer);
  return create(RenewedLeaseSchema, {
    expireTime: toTimestamp(answer.expires_at),
    ...(cancelRequest && { cancelRequest }),
  });
}

type Asked = Pick<Renewed, 'cancel_at' | 'cancel_until' | 'cancel_accepts_late' | 'cancel_reason'>;

/** Absent while nobody asked the holder to stop. */
export function toCancelRequest(answer: Asked): CancelRequest | undefined {
  if (answer.cancel_at === null || answer.cancel_until === null) return undefined;
  return create(CancelRequestSchema, {
    reason: answer.cancel_reason ?? '',
    requestTime: toTimestamp(answer.cancel_at),
    graceEndTime: toTimestamp(answer.cancel_until),
    lateCompletion: answer.cancel_accepts_late ? LateCompletion.ACCEPTED : LateCompletion.REFUSED,
  });
}
