/** RebuildConsumer. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type RebuildConsumerRequest,
  type RebuildConsumerResponse,
  RebuildConsumerResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { StartPosition, StartPositionSchema } from '../../../../gen/tailrace/v1/log_pb.js';
import { rebuildConsumer } from '../../../repository/consumers/index.js';
import { enumNumber, integer, refuse, type Shape, text, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { afterChange, changeFields, changeOf } from './change.js';
import { placeOf } from './place.js';
import { CURSOR_BYTES, MAX_PARTS } from './spec.js';

const request = z
  .object({
    ...changeFields,
    start: enumNumber(StartPositionSchema),
    cursor: text(CURSOR_BYTES),
    partCount: integer(0, MAX_PARTS),
    promoteWhenCaughtUp: z.boolean(),
  } satisfies Shape<RebuildConsumerRequest>)
  .check((context) => {
    const { start, cursor } = context.value;
    if (cursor === '' || start === StartPosition.UNSPECIFIED) return;
    refuse(context.issues, start, 'must be absent when cursor is given', ['start']);
  });

export function rebuildConsumerCall(deps: AdminServiceDeps) {
  return async (message: RebuildConsumerRequest, context: HandlerContext): Promise<RebuildConsumerResponse> => {
    const asked = validate(request, message);
    const { partCount: parts, promoteWhenCaughtUp: promotes } = asked;
    const change = await changeOf(deps, asked, context);
    const from = await placeOf(deps, change.namespace, asked);
    const answer = await rebuildConsumer(deps.database, change, { from, parts, promotes });
    const consumer = await afterChange(deps, asked, answer);
    return create(RebuildConsumerResponseSchema, { consumer, generation: answer.generation });
  };
}
