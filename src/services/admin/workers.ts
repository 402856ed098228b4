/** ListWorkers and DrainWorker. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type DrainWorkerRequest,
  type DrainWorkerResponse,
  DrainWorkerResponseSchema,
  type ListWorkersRequest,
  type ListWorkersResponse,
  ListWorkersResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { type WorkerIdentity, WorkerStateSchema } from '../../../gen/tailrace/v1/worker_pb.js';
import { EngineError } from '../../domain/errors.js';
import { drainWorkers, listWorkers } from '../../repository/workers/index.js';
import { actorOf } from '../caller.js';
import { toWorker } from '../conversion/worker.js';
import { required } from '../engine/required.js';
import { namespaceIn } from '../namespace-in.js';
import { Pages } from '../paging.js';
import {
  enumNumbers,
  name,
  namespace,
  optionalLane,
  optionalName,
  pageSize,
  pageToken,
  type Shape,
  text,
  validate,
} from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { REASON_BYTES } from './lanes.js';
import { orNull } from './selection.js';

const listRequest = z.object({
  namespace,
  workerName: optionalName(),
  states: enumNumbers(WorkerStateSchema).transform(orNull),
  lane: optionalLane,
  pageSize,
  pageToken,
} satisfies Shape<ListWorkersRequest>);

const drainRequest = z.object({
  namespace,
  worker: required(z.object({ name: name(), instanceId: optionalName() } satisfies Shape<WorkerIdentity>)),
  undo: z.boolean(),
  reason: text(REASON_BYTES),
} satisfies Shape<DrainWorkerRequest>);

const FIRST: readonly [string, string] = ['', ''];
const DRAINED_SHOWN = 1_000;

export function listWorkersCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListWorkersRequest): Promise<ListWorkersResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(listRequest, message);
    const pages = new Pages('ListWorkers', asked, ['text', 'text']);
    const [afterName = '', afterId = ''] = pages.keys(token) ?? FIRST;
    const rows = await listWorkers(database, {
      namespace: await namespaceIn(registry, asked.namespace),
      name: asked.workerName,
      instances: null,
      lane: asked.lane,
      states: asked.states,
      after: [afterName, afterId],
      limit: size + 1,
    });
    const shown = rows.slice(0, size);
    const last = rows.length > size ? shown.at(-1) : undefined;
    return create(ListWorkersResponseSchema, {
      workers: shown.map((row) => toWorker(row, asked.namespace)),
      nextPageToken: pages.token(last && [last.name, last.id]),
    });
  };
}

export function drainWorkerCall({ database, registry, after }: AdminServiceDeps) {
  return async (message: DrainWorkerRequest, context: HandlerContext): Promise<DrainWorkerResponse> => {
    const { worker, undo, reason, ...asked } = validate(drainRequest, message);
    const id = await namespaceIn(registry, asked.namespace);
    const instances = await drainWorkers(database, {
      namespace: id,
      name: worker.name,
      instance: worker.instanceId,
      drain: !undo,
      actor: actorOf(context),
      reason,
    });
    if (instances.length === 0) {
      throw new EngineError('WORKER_NOT_FOUND', `no worker ${worker.name} is registered under this identity`, {
        metadata: { worker: worker.name, instance_id: worker.instanceId ?? '' },
      });
    }
    await registry.refresh();
    after.committed(0);
    const rows = await listWorkers(database, {
      namespace: id,
      name: worker.name,
      instances,
      lane: null,
      states: null,
      after: FIRST,
      limit: DRAINED_SHOWN,
    });
    return create(DrainWorkerResponseSchema, { workers: rows.map((row) => toWorker(row, asked.namespace)) });
  };
}
