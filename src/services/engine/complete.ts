/** CompleteExecutions: successful ends, and what the worker takes next. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type CompletedExecution,
  CompletedExecutionSchema,
  type CompleteExecutionsRequest,
  type CompleteExecutionsResponse,
  CompleteExecutionsResponseSchema,
  type Completion,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { EngineError } from '../../domain/errors.js';
import { EndCall } from '../../domain/states.js';
import { type EndAnswer, isRefused } from '../../repository/leases/index.js';
import { toTimestamp } from '../conversion/times.js';
import { list, namespace, payload, type Shape, unbuilt, validate } from '../validation.js';
import { claimNext, takeNext } from './claim-next.js';
import { contentHash, EMPTY_HASH } from './content-hash.js';
import type { EngineServiceDeps } from './deps.js';
import { answerEach, checkItems, refuseRepeats } from './items.js';
import { heldLease, leaseRef } from './lease-ref.js';
import { refusalOf } from './refusals.js';
import { required } from './required.js';

const MAX_ITEMS = 500;

const request = z.object({
  namespace,
  completions: list(z.custom<Completion>(), MAX_ITEMS, 1),
  claimNext: claimNext.optional(),
} satisfies Shape<CompleteExecutionsRequest>);

export function completeExecutionsCall(deps: EngineServiceDeps) {
  const completion = z.object({
    lease: required(leaseRef),
    result: payload(deps.maxPayloadBytes),
    events: unbuilt('events'),
    children: unbuilt('children'),
    frames: unbuilt('frames'),
  } satisfies Shape<Completion>);
  return async (message: CompleteExecutionsRequest, context: HandlerContext): Promise<CompleteExecutionsResponse> => {
    const asked = validate(request, message);
    const namespaceId = await deps.registry.namespace(asked.namespace);
    const checked = refuseRepeats(
      checkItems(completion, asked.completions, 'completions'),
      (item) => item.lease.executionId,
      (i) => `completions[${i}].lease.execution_id`,
    );
    const results = await answerEach(
      checked,
      (items) =>
        deps.writers.end(
          EndCall.COMPLETE,
          items.map(({ lease, result }) => ({
            ...heldLease(lease, namespaceId),
            hash: result === null ? EMPTY_HASH : contentHash([], result),
            failure: null,
            message: null,
            runAt: null,
            delayMs: null,
            content: result,
          })),
        ),
      (answer, item) => toCompleted(answer, item.lease.executionId),
    );
    const next = asked.claimNext && (await takeNext(deps, asked.claimNext, asked.namespace, context.signal));
    return create(CompleteExecutionsResponseSchema, { results, ...next });
  };
}

function toCompleted(answer: EndAnswer, execution: string): CompletedExecution | EngineError {
  if (isRefused(answer)) return refusalOf(answer, execution);
  return create(CompletedExecutionSchema, {
    duplicate: answer.verdict === 'duplicate',
    endTime: toTimestamp(answer.ended_at),
  });
}
