/** ListPendingWaitpoints. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListPendingWaitpointsRequest,
  type ListPendingWaitpointsResponse,
  ListPendingWaitpointsResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { WaitpointState, WaitpointStateSchema } from '../../../../gen/tailrace/v1/signal_pb.js';
import { listWaitpoints } from '../../../repository/suspensions/index.js';
import { toWaitpoint } from '../../conversion/suspension.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import {
  enumNumbers,
  namespace,
  optionalId,
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
    executionId: optionalId,
    states: enumNumbers(WaitpointStateSchema).transform(orNull),
    pageSize,
    pageToken,
  } satisfies Shape<ListPendingWaitpointsRequest>)
  .check((context) => {
    const { states } = context.value;
    if (states?.includes(WaitpointState.CLOSED)) {
      refuse(context.issues, states, 'must be PENDING or ACTIVE: what is closed is not listed', ['states']);
    }
  });

export function listPendingWaitpointsCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListPendingWaitpointsRequest): Promise<ListPendingWaitpointsResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListPendingWaitpoints', asked, ['position', 'id']);
    const [at, id = ''] = pages.keys(token) ?? [];
    const page = await listWaitpoints(
      database,
      {
        namespace: await namespaceIn(registry, asked.namespace),
        execution: asked.executionId,
        states: asked.states,
      },
      at === undefined ? undefined : { at: BigInt(at), id },
      size,
    );
    return create(ListPendingWaitpointsResponseSchema, {
      waitpoints: page.waitpoints.map((found) => toWaitpoint(found)),
      nextPageToken: pages.token(page.next && [page.next.at, page.next.id]),
    });
  };
}
