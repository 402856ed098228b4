/** GetFlowTree. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetFlowTreeRequest,
  type GetFlowTreeResponse,
  GetFlowTreeResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { readTree } from '../../../repository/flows/index.js';
import { toTreeNode } from '../../conversion/flow.js';
import { executionNotFound } from '../../engine/refusals.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import { id, integer, namespace, optionalId, pageSize, pageToken, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { flowNotFound } from './get.js';

const DEEPEST = 1_000;

const request = z.object({
  namespace,
  flowId: id,
  rootNodeId: optionalId,
  maxDepth: integer(0, DEEPEST).transform((depth) => (depth === 0 ? null : depth)),
  pageSize,
  pageToken,
} satisfies Shape<GetFlowTreeRequest>);

export function getFlowTreeCall({ database, registry }: AdminServiceDeps) {
  return async (message: GetFlowTreeRequest): Promise<GetFlowTreeResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('GetFlowTree', asked, ['id']);
    const [after] = pages.keys(token) ?? [];
    const page = await readTree(database, {
      namespace: await namespaceIn(registry, asked.namespace),
      flow: asked.flowId,
      root: asked.rootNodeId,
      depth: asked.maxDepth,
      after: after ?? null,
      size,
    });
    if (page === 'no_flow') throw flowNotFound(asked.flowId);
    if (page === 'no_root') throw executionNotFound(asked.rootNodeId ?? '');
    return create(GetFlowTreeResponseSchema, {
      nodes: page.nodes.map((node) => toTreeNode(node, asked.namespace)),
      nextPageToken: pages.token(page.next === undefined ? undefined : [page.next]),
    });
  };
}
