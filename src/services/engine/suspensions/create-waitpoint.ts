/** CreateWaitpoint: a place where signals can land, so that its token can be handed out before suspending. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type CreateWaitpointRequest,
  type CreateWaitpointResponse,
  CreateWaitpointResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { isRefused } from '../../../repository/leases/index.js';
import { createWaitpoint } from '../../../repository/suspensions/index.js';
import { namespace, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';
import { heldLease, leaseRef } from '../lease-ref.js';
import { executionNotFound, refusalOf } from '../refusals.js';
import { required } from '../required.js';
import { tooManyWaitpoints, waitpointClosed } from './refusals.js';
import { newWaitpoint, waitpointSpec, withToken } from './waitpoint-spec.js';

const request = z.object({
  namespace,
  lease: required(leaseRef),
  waitpoint: required(waitpointSpec),
} satisfies Shape<CreateWaitpointRequest>);

export function createWaitpointCall({ database, registry, after, tokens, signalLimits }: EngineServiceDeps) {
  return async (message: CreateWaitpointRequest): Promise<CreateWaitpointResponse> => {
    const { lease, waitpoint: asked, namespace: name } = validate(request, message);
    const { executionId: execution } = lease;
    const namespaceId = await registry.namespace(name);
    if (namespaceId === undefined) throw executionNotFound(execution);
    const answer = await createWaitpoint(database, {
      ...heldLease(lease, namespaceId),
      waitpoint: newWaitpoint(asked),
      secret: await tokens.presentSecret(namespaceId),
      most: signalLimits.waitpoints,
    });
    if (isRefused(answer)) throw refusalOf(answer, execution);
    if (answer.verdict === 'closed') throw waitpointClosed(execution, asked.key);
    if (answer.verdict === 'full') throw tooManyWaitpoints(execution, signalLimits.waitpoints);
    if (answer.verdict === 'made') {
      after.due('suspensions', asked.expiryMs);
      after.committed(1);
    }
    return create(CreateWaitpointResponseSchema, {
      waitpoint: await withToken(tokens, namespaceId, answer.waitpoint),
      duplicate: answer.verdict === 'there',
    });
  };
}
