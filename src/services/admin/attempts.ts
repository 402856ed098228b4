/** ListAttempts. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListAttemptsRequest,
  type ListAttemptsResponse,
  ListAttemptsResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { AttemptOutcomeSchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import { type AttemptFilter, listAttempts, listAttemptsOf } from '../../repository/inspection/index.js';
import { toAttempt } from '../conversion/attempt.js';
import { executionNotFound } from '../engine/refusals.js';
import { namespaceIn } from '../namespace-in.js';
import { Pages } from '../paging.js';
import {
  enumNumbers,
  namespace,
  optionalId,
  optionalLane,
  optionalName,
  pageSize,
  pageToken,
  refuse,
  type Shape,
  timestamp,
  validate,
} from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { orNull } from './selection.js';

const request = z
  .object({
    namespace,
    executionId: optionalId,
    flowId: optionalId,
    lane: optionalLane,
    type: optionalName(),
    outcomes: enumNumbers(AttemptOutcomeSchema).transform(orNull),
    minStartTime: timestamp,
    maxStartTime: timestamp,
    pageSize,
    pageToken,
  } satisfies Shape<ListAttemptsRequest>)
  .check((context) => {
    const { executionId, flowId, lane, type } = context.value;
    if (executionId || flowId || lane || type) return;
    refuse(context.issues, executionId, 'or flow_id, lane or type is required', ['executionId']);
  });

export function listAttemptsCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListAttemptsRequest): Promise<ListAttemptsResponse> => {
    const { pageSize: size, pageToken: token, ...asked } = validate(request, message);
    const pages = new Pages('ListAttempts', asked, ['id', 'number']);
    const [execution, number] = pages.keys(token) ?? [];
    const filter: AttemptFilter = {
      namespace: await namespaceIn(registry, asked.namespace),
      lane: asked.lane,
      type: asked.type,
      outcomes: asked.outcomes,
      startedFrom: asked.minStartTime,
      startedBefore: asked.maxStartTime,
      flow: asked.flowId,
    };
    const below = execution === undefined ? undefined : { execution, number: Number(number) };
    const page =
      asked.executionId === null
        ? await listAttempts(database, filter, below, size)
        : await listAttemptsOf(database, asked.executionId, filter, below?.number ?? 0, size);
    if (page === undefined) throw executionNotFound(asked.executionId ?? '');
    return create(ListAttemptsResponseSchema, {
      attempts: page.attempts.map((row) => toAttempt(row, asked.namespace)),
      nextPageToken: pages.token(page.next && [page.next.execution, page.next.number]),
    });
  };
}
