/** CancelExecution: waiting work ends in the call, running work is asked to stop or ended. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  CancelEffect,
  CancelMode,
  CancelModeSchema,
  type CancelPolicy,
  LateCompletion,
  LateCompletionSchema,
} from '../../../gen/tailrace/v1/cancel_pb.js';
import {
  type CancelExecutionRequest,
  type CancelExecutionResponse,
  CancelExecutionResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { type CancelAnswer, cancelExecution } from '../../repository/executions/index.js';
import { withEither } from '../../runtime/either-signal.js';
import { toOutcome } from '../completion/outcome.js';
import { toTimestamp } from '../conversion/times.js';
import { drainingOf } from '../draining.js';
import {
  duration,
  enumNumber,
  HOUR_MS,
  id,
  MINUTE_MS,
  namespace,
  requestId,
  SECOND_MS,
  type Shape,
  text,
  validate,
} from '../validation.js';
import type { EngineServiceDeps } from './deps.js';
import { leaseRef } from './lease-ref.js';
import { executionNotFound, leaseLost } from './refusals.js';

const DEFAULT_GRACE_MS = 30_000;
const REASON_BYTES = 1_024;

const policy = z
  .object({
    mode: enumNumber(CancelModeSchema),
    grace: duration(SECOND_MS, HOUR_MS),
    lateCompletion: enumNumber(LateCompletionSchema),
  } satisfies Shape<CancelPolicy>)
  .optional();

const request = z.object({
  namespace,
  requestId,
  executionId: id,
  reason: text(REASON_BYTES),
  policy,
  wait: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
  lease: leaseRef.optional(),
} satisfies Shape<CancelExecutionRequest>);

export function cancelExecutionCall({ database, registry, log, after }: EngineServiceDeps) {
  return async (message: CancelExecutionRequest, context: HandlerContext): Promise<CancelExecutionResponse> => {
    const asked = validate(request, message);
    const { executionId, lease } = asked;
    const namespaceId = await registry.namespace(asked.namespace);
    if (namespaceId === undefined) throw executionNotFound(executionId);
    const graceMs = asked.policy?.grace ?? DEFAULT_GRACE_MS;
    const answer = await cancelExecution(database, {
      namespace: namespaceId,
      execution: executionId,
      now: asked.policy?.mode === CancelMode.NOW,
      graceMs,
      acceptsLate: asked.policy?.lateCompletion !== LateCompletion.REFUSED,
      reason: asked.reason,
      lease: lease ? { id: lease.leaseId, token: lease.fencingToken } : null,
    });
    if (answer.verdict === 'not_found') throw executionNotFound(executionId);
    if (answer.verdict === 'lost') throw leaseLost(executionId, 'stale');
    after.committed(1);
    if (answer.verdict === 'requested') after.due('leases', graceMs);

    const asks = answer.verdict === 'requested' || answer.verdict === 'already_requested';
    const wanted = { namespace: namespaceId, ids: [executionId], any: false, timeoutMs: asks ? asked.wait : 0 };
    const ends = await withEither([context.signal, drainingOf(context)], (signal) => log.awaitEnds(wanted, signal));
    const known = ends.get(executionId);
    return create(CancelExecutionResponseSchema, {
      execution: {
        executionId,
        effect: effectOf(answer),
        state: known?.state ?? answer.state ?? 0,
        ...(known?.outcome && { endTime: toTimestamp(known.outcome.endedAt) }),
      },
      ...(known?.outcome && { outcome: toOutcome(known.outcome, false) }),
    });
  };
}

function effectOf(answer: CancelAnswer): CancelEffect {
  switch (answer.verdict) {
    case 'requested':
      return CancelEffect.REQUESTED;
    case 'already_requested':
      return CancelEffect.ALREADY_REQUESTED;
    case 'terminal':
      return CancelEffect.ALREADY_TERMINAL;
    default:
      return CancelEffect.ENDED;
  }
}
