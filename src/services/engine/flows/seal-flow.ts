/** SealFlow. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type SealFlowRequest,
  type SealFlowResponse,
  SealFlowResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { isFlowEnd } from '../../../domain/states.js';
import { isRefusedFlow, sealFlow } from '../../../repository/flows/index.js';
import { namespaceIn } from '../../namespace-in.js';
import { refuseHiddenFlow } from '../../shown.js';
import { counter, id, namespace, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';
import { tellMade } from './follow-up.js';
import { refusalOf } from './refusals.js';

const request = z.object({
  namespace,
  flowId: id,
  expectedRevision: counter,
} satisfies Shape<SealFlowRequest>);

export function sealFlowCall({ database, registry, after, flowLimits }: EngineServiceDeps) {
  return async (message: SealFlowRequest): Promise<SealFlowResponse> => {
    const { flowId: flow, expectedRevision, ...asked } = validate(request, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const answer = await sealFlow(database, {
      namespace: namespaceId,
      flow,
      expectedRevision,
    });
    if (isRefusedFlow(answer) || isFlowEnd(answer.state)) await refuseHiddenFlow(database, namespaceId, flow);
    if (isRefusedFlow(answer)) {
      throw refusalOf(answer, { flow, limits: flowLimits, nameOf: (member) => member, quorumField: () => 'flow_id' });
    }
    tellMade(after, answer, []);
    return create(SealFlowResponseSchema, { revision: answer.revision, state: answer.state });
  };
}
