/** DeleteSubscription. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type DeleteSubscriptionRequest,
  type DeleteSubscriptionResponse,
  DeleteSubscriptionResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { deleteSubscription } from '../../../repository/subscriptions/index.js';
import { actorOf } from '../../caller.js';
import { namespaceIn } from '../../namespace-in.js';
import { counter, name, namespace, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { versionConflict } from './present.js';

const request = z.object({
  namespace,
  subscription: name(),
  expectedVersion: counter,
} satisfies Shape<DeleteSubscriptionRequest>);

export function deleteSubscriptionCall({ database, registry, after }: AdminServiceDeps) {
  return async (message: DeleteSubscriptionRequest, context: HandlerContext): Promise<DeleteSubscriptionResponse> => {
    const { subscription, expectedVersion, ...asked } = validate(request, message);
    const id = await namespaceIn(registry, asked.namespace);
    const actor = actorOf(context);
    const { verdict, version, due } = await deleteSubscription(database, id, subscription, expectedVersion, actor);
    if (verdict === 'conflict') throw versionConflict(subscription, version);
    if (verdict === 'deleted') after.committed(1);
    if (due) after.due('routes', 0);
    return create(DeleteSubscriptionResponseSchema, { deleted: verdict === 'deleted' });
  };
}
