/** ListFlowMembers. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListFlowMembersRequest,
  type ListFlowMembersResponse,
  ListFlowMembersResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { ExecutionStateSchema } from '../../../../gen/tailrace/v1/execution_state_pb.js';
import { listMembers } from '../../../repository/flows/index.js';
import { toExecution } from '../../conversion/execution.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import { enumNumbers, id, namespace, pageSize, pageToken, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { orNull } from '../selection.js';
import { flowNotFound } from './get.js';

const request = z.object({
  namespace,
  flowId: id,
  states: enumNumbers(ExecutionStateSchema).transform(orNull),
  pageSize,
  pageToken,
} satisfies Shape<ListFlowMembersRequest>);

export function listFlowMembersCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListFlowMembersRequest): Promise<ListFlowMembersResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListFlowMembers', asked, ['id']);
    const [after] = pages.keys(token) ?? [];
    const of = await namespaceIn(registry, asked.namespace);
    const page = await listMembers(database, of, asked.flowId, asked.states, after ?? null, size);
    if (page === undefined) throw flowNotFound(asked.flowId);
    return create(ListFlowMembersResponseSchema, {
      members: page.members.map((row) => toExecution(row, asked.namespace)),
      nextPageToken: pages.token(page.next === undefined ? undefined : [page.next]),
    });
  };
}
