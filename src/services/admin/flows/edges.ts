/** ListEdges. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListEdgesRequest,
  type ListEdgesResponse,
  ListEdgesResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { EdgeDirection, EdgeDirectionSchema } from '../../../../gen/tailrace/v1/flow_pb.js';
import { listEdges } from '../../../repository/flows/index.js';
import { toEdge } from '../../conversion/flow.js';
import { executionNotFound } from '../../engine/refusals.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import {
  enumNumber,
  namespace,
  optionalId,
  pageSize,
  pageToken,
  refuse,
  type Shape,
  validate,
} from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { flowNotFound } from './get.js';

const request = z
  .object({
    namespace,
    flowId: optionalId,
    executionId: optionalId,
    direction: enumNumber(EdgeDirectionSchema),
    pageSize,
    pageToken,
  } satisfies Shape<ListEdgesRequest>)
  .check((context) => {
    const { flowId, executionId, direction } = context.value;
    const wrong = (message: string, field: string) => refuse(context.issues, flowId, message, [field]);
    if (flowId !== null && executionId !== null) wrong('must be absent when flow_id is given', 'executionId');
    if (flowId === null && executionId === null) wrong('or execution_id is required', 'flowId');
    if (executionId === null && direction !== EdgeDirection.UNSPECIFIED) wrong('needs an execution_id', 'direction');
  });

export function listEdgesCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListEdgesRequest): Promise<ListEdgesResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListEdges', asked, ['id', 'id', 'number']);
    const [downstream = '', barrier = '', idx = ''] = pages.keys(token) ?? [];
    const page = await listEdges(database, {
      namespace: await namespaceIn(registry, asked.namespace),
      flow: asked.flowId,
      execution: asked.executionId,
      needs: asked.direction !== EdgeDirection.DOWNSTREAM,
      feeds: asked.direction !== EdgeDirection.UPSTREAM,
      after: idx === '' ? undefined : { downstream, barrier, idx: Number(idx) },
      size,
    });
    if (page === undefined)
      throw asked.flowId ? flowNotFound(asked.flowId) : executionNotFound(asked.executionId ?? '');
    const { next } = page;
    return create(ListEdgesResponseSchema, {
      edges: page.edges.map(toEdge),
      nextPageToken: pages.token(next && [next.downstream, next.barrier, next.idx]),
    });
  };
}
