/** GetConsumer and ListConsumers. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetConsumerRequest,
  type GetConsumerResponse,
  GetConsumerResponseSchema,
  type ListConsumersRequest,
  type ListConsumersResponse,
  ListConsumersResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { ConsumerStateSchema } from '../../../../gen/tailrace/v1/consumer_pb.js';
import { listConsumers } from '../../../repository/consumers/index.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import { enumNumbers, name, namespace, pageSize, pageToken, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { orNull } from '../selection.js';
import { consumerNow, shownConsumers } from './present.js';

const getRequest = z.object({ namespace, consumer: name() } satisfies Shape<GetConsumerRequest>);

const listRequest = z.object({
  namespace,
  states: enumNumbers(ConsumerStateSchema).transform(orNull),
  pageSize,
  pageToken,
} satisfies Shape<ListConsumersRequest>);

export function getConsumerCall(deps: AdminServiceDeps) {
  return async (message: GetConsumerRequest): Promise<GetConsumerResponse> => {
    const asked = validate(getRequest, message);
    return create(GetConsumerResponseSchema, { consumer: await consumerNow(deps, asked.namespace, asked.consumer) });
  };
}

export function listConsumersCall(deps: AdminServiceDeps) {
  return async (message: ListConsumersRequest): Promise<ListConsumersResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(listRequest, message);
    const pages = new Pages('ListConsumers', asked, ['text']);
    const [after = ''] = pages.keys(token) ?? [];
    const id = await namespaceIn(deps.registry, asked.namespace);
    const rows = await listConsumers(deps.database, { namespace: id, after, states: asked.states, limit: size + 1 });
    const shown = rows.slice(0, size);
    const last = rows.length > size ? shown.at(-1) : undefined;
    return create(ListConsumersResponseSchema, {
      consumers: await shownConsumers(deps, { id, name: asked.namespace }, shown),
      nextPageToken: pages.token(last && [last.name]),
    });
  };
}
