/** GetSubscription and ListSubscriptions. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetSubscriptionRequest,
  type GetSubscriptionResponse,
  GetSubscriptionResponseSchema,
  type ListSubscriptionsRequest,
  type ListSubscriptionsResponse,
  ListSubscriptionsResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { listSubscriptions } from '../../../repository/subscriptions/index.js';
import { toSubscription } from '../../conversion/subscription.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import {
  name,
  namespace,
  optionalLane,
  optionalName,
  pageSize,
  pageToken,
  type Shape,
  validate,
} from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { subscriptionNow } from './present.js';

const getRequest = z.object({ namespace, subscription: name() } satisfies Shape<GetSubscriptionRequest>);

const listRequest = z.object({
  namespace,
  lane: optionalLane,
  eventType: optionalName(),
  pageSize,
  pageToken,
} satisfies Shape<ListSubscriptionsRequest>);

export function getSubscriptionCall(deps: AdminServiceDeps) {
  return async (message: GetSubscriptionRequest): Promise<GetSubscriptionResponse> => {
    const asked = validate(getRequest, message);
    const subscription = await subscriptionNow(deps, asked.namespace, asked.subscription);
    return create(GetSubscriptionResponseSchema, { subscription });
  };
}

export function listSubscriptionsCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListSubscriptionsRequest): Promise<ListSubscriptionsResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(listRequest, message);
    const pages = new Pages('ListSubscriptions', asked, ['text']);
    const [after = ''] = pages.keys(token) ?? [];
    const { lane, eventType } = asked;
    const id = await namespaceIn(registry, asked.namespace);
    const rows = await listSubscriptions(database, { namespace: id, lane, eventType, after, limit: size + 1 });
    const shown = rows.slice(0, size);
    const last = rows.length > size ? shown.at(-1) : undefined;
    return create(ListSubscriptionsResponseSchema, {
      subscriptions: shown.map((row) => toSubscription(row, asked.namespace)),
      nextPageToken: pages.token(last && [last.name]),
    });
  };
}
