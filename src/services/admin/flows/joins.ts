/** ListJoins. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListJoinsRequest,
  type ListJoinsResponse,
  ListJoinsResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { JoinKindSchema, JoinStateSchema } from '../../../../gen/tailrace/v1/join_pb.js';
import { listJoins } from '../../../repository/flows/index.js';
import { toJoin } from '../../conversion/join.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import {
  enumNumbers,
  namespace,
  optionalId,
  optionalName,
  pageSize,
  pageToken,
  refuse,
  type Shape,
  validate,
} from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { orNull } from '../selection.js';

const request = z
  .object({
    namespace,
    flowId: optionalId,
    executionId: optionalId,
    subscription: optionalName(),
    states: enumNumbers(JoinStateSchema).transform(orNull),
    kinds: enumNumbers(JoinKindSchema).transform(orNull),
    pageSize,
    pageToken,
  } satisfies Shape<ListJoinsRequest>)
  .check((context) => {
    const { flowId, executionId, subscription } = context.value;
    if (flowId || executionId || subscription) return;
    refuse(context.issues, flowId, 'or execution_id or subscription is required', ['flowId']);
  });

export function listJoinsCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListJoinsRequest): Promise<ListJoinsResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListJoins', asked, ['id']);
    const [below] = pages.keys(token) ?? [];
    const { flowId: flow, executionId: execution, subscription, states, kinds } = asked;
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const filter = { namespace: namespaceId, flow, execution, subscription, states, kinds };
    const page = await listJoins(database, filter, below ?? null, size);
    return create(ListJoinsResponseSchema, {
      joins: page.joins.map((row) => toJoin(row, asked.namespace)),
      nextPageToken: pages.token(page.next === undefined ? undefined : [page.next]),
    });
  };
}
