/** ListSuspendedExecutions. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListSuspendedExecutionsRequest,
  type ListSuspendedExecutionsResponse,
  ListSuspendedExecutionsResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { SuspensionReasonSchema } from '../../../../gen/tailrace/v1/signal_pb.js';
import { listSuspensions } from '../../../repository/suspensions/index.js';
import { toSuspension } from '../../conversion/suspension.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import {
  enumNumbers,
  LANE_BYTES,
  names,
  namespace,
  optionalId,
  pageSize,
  pageToken,
  type Shape,
  timestamp,
  validate,
} from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { FILTER_VALUES, orNull } from '../selection.js';

const request = z.object({
  namespace,
  reasons: enumNumbers(SuspensionReasonSchema).transform(orNull),
  escalatedOnly: z.boolean(),
  lanes: names(FILTER_VALUES, LANE_BYTES).transform(orNull),
  types: names(FILTER_VALUES).transform(orNull),
  flowId: optionalId,
  maxSuspendTime: timestamp,
  pageSize,
  pageToken,
} satisfies Shape<ListSuspendedExecutionsRequest>);

export function listSuspendedExecutionsCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListSuspendedExecutionsRequest): Promise<ListSuspendedExecutionsResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListSuspendedExecutions', asked, ['position', 'id']);
    const [at, id = ''] = pages.keys(token) ?? [];
    const page = await listSuspensions(
      database,
      {
        namespace: await namespaceIn(registry, asked.namespace),
        reasons: asked.reasons,
        escalatedOnly: asked.escalatedOnly,
        lanes: asked.lanes,
        types: asked.types,
        flow: asked.flowId,
        suspendedBefore: asked.maxSuspendTime,
      },
      at === undefined ? undefined : { at: BigInt(at), id },
      size,
    );
    return create(ListSuspendedExecutionsResponseSchema, {
      suspensions: page.suspensions.map(toSuspension),
      nextPageToken: pages.token(page.next && [page.next.at, page.next.id]),
    });
  };
}
