/** HeartbeatWorker and UnregisterWorker. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type HeartbeatWorkerRequest,
  type HeartbeatWorkerResponse,
  HeartbeatWorkerResponseSchema,
  type UnregisterWorkerRequest,
  type UnregisterWorkerResponse,
  UnregisterWorkerResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { HEARTBEAT_MS } from '../../dispatch/worker-presence.js';
import { forgetWorker } from '../../repository/workers/index.js';
import { toDuration } from '../conversion/times.js';
import { namespaceFor } from '../namespace-in.js';
import { integer, LANE_BYTES, names, namespace, type Shape, tags, validate } from '../validation.js';
import type { EngineServiceDeps } from './deps.js';
import { capabilities, types, workerIdentity } from './holder.js';
import { required } from './required.js';

const MAX_LANES = 256;
const MAX_CONCURRENCY = 1_000_000;

const heartbeat = z.object({
  namespace,
  worker: required(workerIdentity),
  lanes: names(MAX_LANES, LANE_BYTES),
  types,
  capabilities,
  maxConcurrency: integer(0, MAX_CONCURRENCY),
  labels: tags,
} satisfies Shape<HeartbeatWorkerRequest>);

const unregister = z.object({
  namespace,
  worker: required(workerIdentity),
} satisfies Shape<UnregisterWorkerRequest>);

export function heartbeatWorkerCall({ registry, presence, after }: EngineServiceDeps) {
  return async (message: HeartbeatWorkerRequest, context: HandlerContext): Promise<HeartbeatWorkerResponse> => {
    const asked = validate(heartbeat, message);
    const { name, instance } = asked.worker;
    const namespaceId = await namespaceFor(registry, asked.namespace, context);
    const news = await presence.heard({
      namespace: namespaceId,
      instance,
      name,
      lanes: asked.lanes,
      types: asked.types,
      capabilities: asked.capabilities,
      told: { maxConcurrency: asked.maxConcurrency, labels: asked.labels },
    });
    if (news) after.committed(0);
    const reason = registry.drainReason(namespaceId, instance);
    return create(HeartbeatWorkerResponseSchema, {
      drain: reason !== undefined,
      drainReason: reason ?? '',
      heartbeatInterval: toDuration(HEARTBEAT_MS),
    });
  };
}

export function unregisterWorkerCall({ database, registry, presence, after }: EngineServiceDeps) {
  return async (message: UnregisterWorkerRequest): Promise<UnregisterWorkerResponse> => {
    const asked = validate(unregister, message);
    const namespaceId = await registry.namespace(asked.namespace);
    if (namespaceId !== undefined) {
      presence.forget(namespaceId, asked.worker.instance);
      await forgetWorker(database, namespaceId, asked.worker.instance);
      after.committed(0);
    }
    return create(UnregisterWorkerResponseSchema);
  };
}
