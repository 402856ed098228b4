/** CancelExecution: waiting work ends in the call, running work is asked to stop or ended. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import { CancelEffect } from '../../../gen/tailrace/v1/cancel_pb.js';
import {
  type CancelExecutionRequest,
  type CancelExecutionResponse,
  CancelExecutionResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { tellConsequences } from '../../dispatch/after-commit.js';
import { ExecutionState, isTerminal } from '../../domain/states.js';
import { type CancelAnswer, type Child, cancelExecution, readChildren } from '../../repository/executions/index.js';
import { withEither } from '../../runtime/either-signal.js';
import { actorOf } from '../caller.js';
import { toOutcome } from '../completion/outcome.js';
import { toTimestamp } from '../conversion/times.js';
import { drainingOf } from '../draining.js';
import { refuseHidden } from '../shown.js';
import { duration, id, MINUTE_MS, namespace, requestId, type Shape, text, validate } from '../validation.js';
import { cancelPolicy, DEFAULT_CANCELLATION } from './cancel-policy.js';
import type { EngineServiceDeps } from './deps.js';
import { leaseRef } from './lease-ref.js';
import { executionNotFound, leaseLost } from './refusals.js';

const REASON_BYTES = 1_024;
const CHILDREN_SHOWN = 1_000;

const request = z.object({
  namespace,
  requestId,
  executionId: id,
  reason: text(REASON_BYTES),
  policy: cancelPolicy,
  wait: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
  lease: leaseRef.optional(),
} satisfies Shape<CancelExecutionRequest>);

export function cancelExecutionCall({ database, registry, log, after }: EngineServiceDeps) {
  return async (message: CancelExecutionRequest, context: HandlerContext): Promise<CancelExecutionResponse> => {
    const asked = validate(request, message);
    const { executionId, lease } = asked;
    const namespaceId = await registry.namespace(asked.namespace);
    if (namespaceId === undefined) throw executionNotFound(executionId);
    const policy = asked.policy ?? DEFAULT_CANCELLATION;
    const answer = await cancelExecution(database, {
      namespace: namespaceId,
      execution: executionId,
      ...policy,
      actor: actorOf(context),
      reason: asked.reason,
      lease: lease ? { id: lease.leaseId, token: lease.fencingToken } : null,
    });
    if (answer.verdict === 'not_found') throw executionNotFound(executionId);
    if (answer.verdict === 'lost') throw leaseLost(executionId, 'stale');
    if (answer.verdict === 'terminal') await refuseHidden(database, namespaceId, [executionId]);
    after.committed(1);
    if (answer.verdict === 'requested') after.due('leases', policy.graceMs);
    if (answer.verdict === 'canceled') after.freed();
    tellConsequences(after, answer);
    const children = answer.barrier === null ? [] : await readChildren(database, answer.barrier, CHILDREN_SHOWN);

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
      // They are marked by the call, and end right after it.
      children: children.map((child) => ({
        executionId: child.execution,
        effect: effectOn(child),
        state: child.state,
        ...(child.ended_at && { endTime: toTimestamp(child.ended_at) }),
      })),
    });
  };
}

/** Some may have ended by the time they were read. */
function effectOn({ state }: Child): CancelEffect {
  if (state === ExecutionState.CANCELED) return CancelEffect.ENDED;
  return isTerminal(state) ? CancelEffect.ALREADY_TERMINAL : CancelEffect.PENDING;
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
