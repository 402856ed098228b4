/** ListFailedFlows. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListFailedFlowsRequest,
  type ListFailedFlowsResponse,
  ListFailedFlowsResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { listFailedFlows } from '../../../repository/flows/index.js';
import { toFailedFlow } from '../../conversion/flow.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import { namespace, pageSize, pageToken, type Shape, tags, timestamp, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { tagsOrNull } from '../selection.js';

const request = z.object({
  namespace,
  minFailureTime: timestamp,
  maxFailureTime: timestamp,
  tags: tags.transform(tagsOrNull),
  pageSize,
  pageToken,
} satisfies Shape<ListFailedFlowsRequest>);

export function listFailedFlowsCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListFailedFlowsRequest): Promise<ListFailedFlowsResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListFailedFlows', asked, ['position', 'id']);
    const [at, id = ''] = pages.keys(token) ?? [];
    const page = await listFailedFlows(
      database,
      {
        namespace: await namespaceIn(registry, asked.namespace),
        failedFrom: asked.minFailureTime,
        failedBefore: asked.maxFailureTime,
        tags: asked.tags,
      },
      at === undefined ? undefined : { at: BigInt(at), id },
      size,
    );
    return create(ListFailedFlowsResponseSchema, {
      flows: page.flows.map((row) => toFailedFlow(row, asked.namespace)),
      nextPageToken: pages.token(page.next && [page.next.at, page.next.id]),
    });
  };
}
