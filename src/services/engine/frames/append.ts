/** AppendFrames: output of a running attempt. Calls for many streams share their commits. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type AppendFramesRequest,
  type AppendFramesResponse,
  AppendFramesResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { encodeFrameCursor } from '../../../domain/frame-cursor.js';
import { areRefusedFrames } from '../../../repository/frames/index.js';
import { isRefused } from '../../../repository/leases/index.js';
import { counter, list, namespace, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';
import { heldLease, leaseRef } from '../lease-ref.js';
import { refusalOf } from '../refusals.js';
import { toCancelRequest } from '../renew.js';
import { required } from '../required.js';
import { frameSpec, MAX_FRAMES } from './frame-spec.js';
import { framesRefusal } from './refusals.js';

export function appendFramesCall({ registry, writers, frameLimits }: EngineServiceDeps) {
  const request = z.object({
    namespace,
    lease: required(leaseRef),
    frames: list(frameSpec(frameLimits.frameBytes), MAX_FRAMES, 1),
    expectedCount: counter.optional(),
  } satisfies Shape<AppendFramesRequest>);
  return async (message: AppendFramesRequest): Promise<AppendFramesResponse> => {
    const { lease, frames, expectedCount, ...asked } = validate(request, message);
    const held = heldLease(lease, await registry.namespace(asked.namespace));
    const answer = await writers.append({ ...held, frames, expected: expectedCount ?? null });
    const execution = lease.executionId;
    if (isRefused(answer)) throw refusalOf(answer, execution);
    if (areRefusedFrames(answer)) throw framesRefusal(answer, execution, frameLimits, answer.durable);
    const { attempt, durable, version } = answer;
    const cancelRequest = toCancelRequest(answer);
    return create(AppendFramesResponseSchema, {
      lastCursor: encodeFrameCursor({ execution, attempt, durable, version, passing: Number(answer.passing) }),
      count: BigInt(durable),
      summaryVersion: BigInt(version),
      duplicate: answer.verdict === 'duplicate',
      ...(cancelRequest && { cancelRequest }),
    });
  };
}
