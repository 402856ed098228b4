/** RevokeLease and ChangeExecution. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ChangeExecutionRequest,
  type ChangeExecutionResponse,
  ChangeExecutionResponseSchema,
  type RevokeLeaseRequest,
  type RevokeLeaseResponse,
  RevokeLeaseResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { tellConsequences, untilMs } from '../../dispatch/after-commit.js';
import { EngineError } from '../../domain/errors.js';
import { ExecutionState, isTerminal, stateName } from '../../domain/states.js';
import type { Runner } from '../../repository/database.js';
import { readExecution } from '../../repository/inspection/index.js';
import { changeExecution, revokeLease } from '../../repository/operations/index.js';
import { actorOf } from '../caller.js';
import { toExecution } from '../conversion/execution.js';
import { toTimestamp } from '../conversion/times.js';
import { executionNotFound, wrongState } from '../engine/refusals.js';
import { namespaceIn } from '../namespace-in.js';
import { refuseHidden } from '../shown.js';
import { counter, id, integer, namespace, refuse, type Shape, text, timestamp, validate } from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { REASON_BYTES } from './lanes.js';

const revokeRequest = z.object({
  namespace,
  executionId: id,
  fencingToken: counter,
  reason: text(REASON_BYTES),
} satisfies Shape<RevokeLeaseRequest>);

const changeRequest = z
  .object({
    namespace,
    executionId: id,
    priority: integer(-1_000, 1_000).optional(),
    runTime: timestamp,
    reason: text(REASON_BYTES),
  } satisfies Shape<ChangeExecutionRequest>)
  .check((context) => {
    const { priority, runTime } = context.value;
    if (priority === undefined && runTime === null) {
      refuse(context.issues, priority, 'or run_time is required', ['priority']);
    }
  });

export function revokeLeaseCall({ database, registry, after }: AdminServiceDeps) {
  return async (message: RevokeLeaseRequest, context: HandlerContext): Promise<RevokeLeaseResponse> => {
    const asked = validate(revokeRequest, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const answer = await revokeLease(database, {
      namespace: namespaceId,
      execution: asked.executionId,
      token: asked.fencingToken === 0n ? null : asked.fencingToken,
      actor: actorOf(context),
      reason: asked.reason,
    });
    if (answer.verdict === 'not_found') throw executionNotFound(asked.executionId);
    if (answer.verdict === 'wrong_state') throw await notSo(database, namespaceId, asked.executionId, answer.state);
    const { lease, state } = answer;
    after.committed(1);
    tellConsequences(after, answer);
    if (state === ExecutionState.QUEUED) after.queued(lease.class, 1);
    return create(RevokeLeaseResponseSchema, {
      state,
      revokedLease: {
        worker: { name: lease.worker_name, instanceId: lease.worker },
        fencingToken: lease.token,
        grantTime: toTimestamp(lease.started_at),
        expireTime: toTimestamp(lease.expires_at),
      },
    });
  };
}

export function changeExecutionCall({ database, registry, after }: AdminServiceDeps) {
  return async (message: ChangeExecutionRequest, context: HandlerContext): Promise<ChangeExecutionResponse> => {
    const asked = validate(changeRequest, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const answer = await changeExecution(database, {
      namespace: namespaceId,
      execution: asked.executionId,
      priority: asked.priority ?? null,
      runAt: asked.runTime,
      actor: actorOf(context),
      reason: asked.reason,
    });
    if (answer.verdict === 'not_found') throw executionNotFound(asked.executionId);
    if (answer.verdict === 'wrong_state') throw await notSo(database, namespaceId, asked.executionId, answer.state);
    const row = await readExecution(database, namespaceId, asked.executionId, false);
    if (row === undefined) throw executionNotFound(asked.executionId);
    after.committed(1);
    tellConsequences(after, answer);
    if (answer.state === ExecutionState.QUEUED) after.queued(row.class, 1);
    if (row.run_at) after.due('scheduled', untilMs(row.run_at));
    return create(ChangeExecutionResponseSchema, { execution: toExecution(row, asked.namespace) });
  };
}

/** It is not in a state that permits the step; what has ended never will be. */
async function notSo(
  database: Runner,
  namespaceId: number,
  execution: string,
  state: number | null,
): Promise<EngineError> {
  if (state === null || !isTerminal(state)) return wrongState(execution, state ?? 0);
  await refuseHidden(database, namespaceId, [execution]);
  return new EngineError('EXECUTION_TERMINAL', `execution ${execution} has ended ${stateName(state)}`, {
    metadata: { execution_id: execution, state: stateName(state) },
  });
}
