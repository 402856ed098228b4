/** CreateExecutions. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type CreatedExecution,
  type CreateExecutionsRequest,
  type CreateExecutionsResponse,
  CreateExecutionsResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { ExecutionSpec } from '../../../gen/tailrace/v1/execution_pb.js';
import { EngineError } from '../../domain/errors.js';
import type { CreationAnswer } from '../../repository/executions/index.js';
import { traceOf } from '../call-trace.js';
import { namespaceFor } from '../namespace-in.js';
import { sized } from '../payload-limits.js';
import { list, namespace, type Shape, validate } from '../validation.js';
import type { EngineServiceDeps } from './deps.js';
import { flowCanceled, flowLimitExceeded, flowNotFound, flowSealed, laneClosed } from './flows/refusals.js';
import { answerEach, checkItems, refuseRepeats, throwMalformed } from './items.js';
import { executionSpec, type Spec, toNewExecutions } from './spec.js';

const MAX_ITEMS = 1_000;

const request = z.object({
  namespace,
  executions: list(z.custom<ExecutionSpec>(), MAX_ITEMS, 1),
  atomic: z.boolean(),
} satisfies Shape<CreateExecutionsRequest>);

export function createExecutionsCall(deps: EngineServiceDeps) {
  const specFor = sized(deps, (mostBytes) => executionSpec(mostBytes, 'alone'));
  return async (message: CreateExecutionsRequest, context: HandlerContext): Promise<CreateExecutionsResponse> => {
    const asked = validate(request, message);
    let checked = checkItems(await specFor(asked.namespace), asked.executions, 'executions');
    checked = refuseRepeats(
      checked,
      (item) => item.requestId,
      (i) => `executions[${i}].request_id`,
    );
    checked = refuseRepeats(
      checked,
      (item) => item.executionId,
      (i) => `executions[${i}].execution_id`,
    );
    throwMalformed(checked);
    if (asked.atomic) for (const entry of checked) if ('refused' in entry) throw entry.refused;
    const results = await answerEach(
      checked,
      (items) => decide(deps, asked.namespace, items, asked.atomic, context),
      (answer, { flowId }) => toCreated(deps, answer, flowId ?? '', asked.atomic),
    );
    return create(CreateExecutionsResponseSchema, { results });
  };
}

async function decide(
  { registry, writers }: EngineServiceDeps,
  name: string,
  specs: readonly Spec[],
  atomic: boolean,
  context: HandlerContext,
): Promise<CreationAnswer[]> {
  const id = await namespaceFor(registry, name, context);
  const items = await toNewExecutions(registry, id, specs, traceOf(context));
  return await (atomic ? writers.createAtomically(items) : writers.create(items));
}

function toCreated(
  { flowLimits }: EngineServiceDeps,
  answer: CreationAnswer,
  flow: string,
  atomic: boolean,
): CreatedExecution | EngineError {
  const { verdict, execution: executionId, state } = answer;
  if (verdict === 'created' || verdict === 'duplicate') {
    return { $typeName: 'tailrace.v1.CreatedExecution', executionId, duplicate: verdict === 'duplicate', state };
  }
  const refused =
    verdict === 'flow_full' ? flowLimitExceeded(flowLimits.members) : refusalOf(verdict, executionId, flow);
  if (atomic) throw refused;
  return refused;
}

function refusalOf(
  verdict: Exclude<CreationAnswer['verdict'], 'created' | 'duplicate' | 'flow_full'>,
  execution: string,
  flow: string,
) {
  switch (verdict) {
    case 'reused':
      return new EngineError('REQUEST_ID_REUSED', 'this id was used before, for other content', {
        metadata: { execution_id: execution },
      });
    case 'closed':
      return laneClosed();
    case 'no_flow':
      return flowNotFound(flow);
    case 'flow_sealed':
      return flowSealed(flow);
    case 'flow_canceled':
      return flowCanceled(flow);
    case 'busy':
      return new EngineError('CONTENTION', 'the flow is locked by another transaction; repeat the call', {
        metadata: { flow_id: flow },
        retryDelayMs: 100,
      });
  }
}
