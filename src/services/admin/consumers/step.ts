/** PauseConsumer and ResumeConsumer. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PauseConsumerRequest,
  type PauseConsumerResponse,
  PauseConsumerResponseSchema,
  type ResumeConsumerRequest,
  type ResumeConsumerResponse,
  ResumeConsumerResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import type { Consumer } from '../../../../gen/tailrace/v1/consumer_pb.js';
import { pauseConsumer } from '../../../repository/consumers/index.js';
import { type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { afterChange, changeFields, changeOf } from './change.js';

const request = z.object(changeFields satisfies Shape<PauseConsumerRequest> & Shape<ResumeConsumerRequest>);

export function pauseConsumerCall(deps: AdminServiceDeps) {
  return async (message: PauseConsumerRequest, context: HandlerContext): Promise<PauseConsumerResponse> =>
    create(PauseConsumerResponseSchema, { consumer: await stepped(deps, message, context, true) });
}

export function resumeConsumerCall(deps: AdminServiceDeps) {
  return async (message: ResumeConsumerRequest, context: HandlerContext): Promise<ResumeConsumerResponse> =>
    create(ResumeConsumerResponseSchema, { consumer: await stepped(deps, message, context, false) });
}

async function stepped(
  deps: AdminServiceDeps,
  message: PauseConsumerRequest | ResumeConsumerRequest,
  context: HandlerContext,
  pause: boolean,
): Promise<Consumer> {
  const asked = validate(request, message);
  return await afterChange(
    deps,
    asked,
    await pauseConsumer(deps.database, await changeOf(deps, asked, context), pause),
  );
}
