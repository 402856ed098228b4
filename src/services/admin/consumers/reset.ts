/** ResetConsumer. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ResetConsumerRequest,
  type ResetConsumerResponse,
  ResetConsumerResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { StartPosition, StartPositionSchema } from '../../../../gen/tailrace/v1/log_pb.js';
import { type Beginning, positionAt, resetConsumer } from '../../../repository/consumers/index.js';
import { enumNumber, refuse, type Shape, text, timestamp, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { afterChange, changeFields, changeOf } from './change.js';
import { placeOf, pruned } from './place.js';
import { CURSOR_BYTES } from './spec.js';

const request = z
  .object({
    ...changeFields,
    start: enumNumber(StartPositionSchema),
    cursor: text(CURSOR_BYTES),
    time: timestamp,
  } satisfies Shape<ResetConsumerRequest>)
  .check((context) => {
    const { start, cursor, time } = context.value;
    const given = [start !== StartPosition.UNSPECIFIED, cursor !== '', time !== null].filter(Boolean).length;
    if (given === 1) return;
    const found = given === 0 ? 'none is given' : `${given} are`;
    refuse(context.issues, start, `must be given, or else cursor or time: exactly one of them; ${found}`, ['start']);
  });

export function resetConsumerCall(deps: AdminServiceDeps) {
  return async (message: ResetConsumerRequest, context: HandlerContext): Promise<ResetConsumerResponse> => {
    const asked = validate(request, message);
    const change = await changeOf(deps, asked, context);
    const answer = await resetConsumer(deps.database, change, await target(deps, change.namespace, asked));
    return create(ResetConsumerResponseSchema, { consumer: await afterChange(deps, asked, answer) });
  };
}

type Target = Pick<z.output<typeof request>, 'start' | 'cursor' | 'time'>;

async function target(deps: AdminServiceDeps, namespaceId: number, { time, ...place }: Target): Promise<Beginning> {
  if (time === null) return await placeOf(deps, namespaceId, place);
  const { position, kept } = await positionAt(deps.database, time);
  if (!kept || position < (await deps.source.head(namespaceId)).floor) throw await pruned(deps, namespaceId);
  return position;
}
