/** GetFlow. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetFlowRequest,
  type GetFlowResponse,
  GetFlowResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import { EngineError } from '../../../domain/errors.js';
import { readFlow } from '../../../repository/flows/index.js';
import { toFlow } from '../../conversion/flow.js';
import { namespaceIn } from '../../namespace-in.js';
import { id, namespace, type Shape, validate } from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';

const request = z.object({ namespace, flowId: id } satisfies Shape<GetFlowRequest>);

export function getFlowCall({ database, registry, source }: AdminServiceDeps) {
  return async (message: GetFlowRequest): Promise<GetFlowResponse> => {
    const asked = validate(request, message);
    const of = await namespaceIn(registry, asked.namespace);
    const row = await readFlow(database, of, asked.flowId);
    if (row === undefined) throw flowNotFound(asked.flowId);
    const { incarnation } = await source.head();
    const flow = toFlow(row, asked.namespace, (position) => cursorAt({ namespace: of, incarnation }, position));
    return create(GetFlowResponseSchema, { flow });
  };
}

export function flowNotFound(flow: string): EngineError {
  return new EngineError('FLOW_NOT_FOUND', `there is no flow ${flow}`, { metadata: { flow_id: flow } });
}
