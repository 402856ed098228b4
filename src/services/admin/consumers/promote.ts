/** PromoteConsumer. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PromoteConsumerRequest,
  type PromoteConsumerResponse,
  PromoteConsumerResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { EngineError } from '../../../domain/errors.js';
import { prunedPosition } from '../../../log/floors.js';
import { generationNotFound } from '../../completion/consumers/refusals.js';
import { counter, refuse, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { afterChange, changeFields, changeOf } from './change.js';
import { pruned } from './place.js';
import { promote } from './promotion.js';

const request = z.object({
  ...changeFields,
  generation: counter.check((context) => {
    if (context.value === 0n) refuse(context.issues, context.value, 'is required');
  }),
} satisfies Shape<PromoteConsumerRequest>);

export function promoteConsumerCall(deps: AdminServiceDeps) {
  return async (message: PromoteConsumerRequest, context: HandlerContext): Promise<PromoteConsumerResponse> => {
    const { generation, ...asked } = validate(request, message);
    const change = await changeOf(deps, asked, context);
    const {
      verdict,
      version,
      lag = 0,
    } = await promote(deps, change, generation).catch(async (error: unknown) => {
      throw prunedPosition(error) === undefined ? error : await pruned(deps, change.namespace);
    });
    if (verdict === 'no_generation') throw generationNotFound(asked.consumer, generation);
    if (verdict === 'behind') throw notCaughtUp(asked.consumer, generation, lag);
    const consumer = await afterChange(deps, asked, { verdict, version });
    return create(PromoteConsumerResponseSchema, { consumer });
  };
}

function notCaughtUp(consumer: string, generation: bigint, lag: number): EngineError {
  return new EngineError('GENERATION_NOT_CAUGHT_UP', `generation ${generation} of consumer ${consumer} is behind`, {
    metadata: { consumer, generation: String(generation), lag: String(lag) },
  });
}
