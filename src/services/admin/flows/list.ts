/** ListFlows. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListFlowsRequest,
  type ListFlowsResponse,
  ListFlowsResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { FlowStateSchema } from '../../../../gen/tailrace/v1/flow_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import { listFlows } from '../../../repository/flows/index.js';
import { toFlow } from '../../conversion/flow.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import {
  enumNumbers,
  namespace,
  optionalName,
  pageSize,
  pageToken,
  type Shape,
  tags,
  timestamp,
  validate,
} from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { orNull, tagsOrNull } from '../selection.js';

const request = z.object({
  namespace,
  states: enumNumbers(FlowStateSchema).transform(orNull),
  name: optionalName(),
  tags: tags.transform(tagsOrNull),
  minCreateTime: timestamp,
  maxCreateTime: timestamp,
  pageSize,
  pageToken,
} satisfies Shape<ListFlowsRequest>);

export function listFlowsCall({ database, registry, source }: AdminServiceDeps) {
  return async (message: ListFlowsRequest): Promise<ListFlowsResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListFlows', asked, ['id']);
    const [below] = pages.keys(token) ?? [];
    const of = await namespaceIn(registry, asked.namespace);
    const { states, name, tags: wanted, minCreateTime: createdFrom, maxCreateTime: createdBefore } = asked;
    const filter = { namespace: of, states, name, tags: wanted, createdFrom, createdBefore };
    const page = await listFlows(database, filter, below ?? null, size);
    const { incarnation } = await source.head();
    return create(ListFlowsResponseSchema, {
      flows: page.flows.map((row) =>
        toFlow(row, asked.namespace, (position) => cursorAt({ namespace: of, incarnation }, position)),
      ),
      nextPageToken: pages.token(page.next === undefined ? undefined : [page.next]),
    });
  };
}
