/** ReleaseUsage: an execution gives back of what it has reported. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ReleaseUsageRequest,
  type ReleaseUsageResponse,
  ReleaseUsageResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { releaseUsage } from '../../../repository/budgets/index.js';
import { isRefused } from '../../../repository/leases/index.js';
import { Gate } from '../../../runtime/gate.js';
import { namespaceIn } from '../../namespace-in.js';
import { id, namespace, optionalName, refuse, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';
import { leaseRef } from '../lease-ref.js';
import { refusalOf } from '../refusals.js';
import { keyReused } from './refusals.js';
import { AT_ONCE, usage, usageHash } from './usage.js';

const request = z
  .object({
    namespace,
    executionId: id,
    usage,
    idempotencyKey: optionalName(),
    lease: leaseRef.optional(),
  } satisfies Shape<ReleaseUsageRequest>)
  .check((context) => {
    const { executionId, lease } = context.value;
    if (lease === undefined || lease.executionId === executionId) return;
    const path = ['lease', 'executionId'];
    refuse(context.issues, lease.executionId, `must be execution_id; it is ${lease.executionId}`, path);
  });

export function releaseUsageCall({ database, registry, after }: EngineServiceDeps) {
  const gate = new Gate(AT_ONCE);

  return async (message: ReleaseUsageRequest): Promise<ReleaseUsageResponse> => {
    const { executionId: execution, idempotencyKey: key, lease, ...asked } = validate(request, message);
    const release = {
      namespace: await namespaceIn(registry, asked.namespace),
      execution,
      lease: lease === undefined ? null : { lease: lease.leaseId, token: lease.fencingToken },
      usage: asked.usage,
      key,
      hash: usageHash('release', key, asked.usage),
    };
    const answer = await gate.run(() => releaseUsage(database, release));
    if (isRefused(answer)) throw refusalOf(answer, execution);
    if (answer.verdict === 'reused') throw keyReused(key ?? '');
    if (answer.due) after.due('budgets', 0);
    after.committed(1);
    const released = Object.entries(answer.answer.released).map(([dimension, amount]) => [dimension, BigInt(amount)]);
    return create(ReleaseUsageResponseSchema, {
      released: Object.fromEntries(released),
      duplicate: answer.verdict === 'duplicate',
    });
  };
}
