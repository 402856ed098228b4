/** SuspendExecution: the holder parks its open attempt until a condition over signals holds. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type SuspendExecutionRequest,
  type SuspendExecutionResponse,
  SuspendExecutionResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import {
  SuspensionReason,
  SuspensionReasonSchema,
  SuspensionTimeoutBehavior,
  SuspensionTimeoutBehaviorSchema,
} from '../../../../gen/tailrace/v1/signal_pb.js';
import { tellConsequences } from '../../../dispatch/after-commit.js';
import { countsWaitpoints, waitpointsIn } from '../../../domain/condition.js';
import { isRefused } from '../../../repository/leases/index.js';
import { isRefusedSuspension, readMatchedSignals, suspend } from '../../../repository/suspensions/index.js';
import { toSignal } from '../../conversion/signal.js';
import { toTimestamp } from '../../conversion/times.js';
import {
  CENTURY_MS,
  DAY_MS,
  duration,
  enumNumber,
  namespace,
  optionalName,
  refuse,
  type Shape,
  text,
  validate,
} from '../../validation.js';
import { contentHash } from '../content-hash.js';
import type { EngineServiceDeps } from '../deps.js';
import { heldLease, leaseRef } from '../lease-ref.js';
import { executionNotFound, refusalOf } from '../refusals.js';
import { required } from '../required.js';
import { condition } from './condition.js';
import { suspensionRefusal } from './refusals.js';
import { newWaitpoint, waitpointSpecs, withToken } from './waitpoint-spec.js';

const LEAST_TIMEOUT_MS = 100;
const MAX_TIMEOUT_MS = 365 * DAY_MS;
const NOTE_BYTES = 1_024;
const { FAIL, RESUME } = SuspensionTimeoutBehavior;

export function suspendExecutionCall(deps: EngineServiceDeps) {
  const { database, registry, after, tokens, signalLimits } = deps;
  const request = z
    .object({
      namespace,
      lease: required(leaseRef),
      reason: enumNumber(SuspensionReasonSchema).transform((reason) => reason || SuspensionReason.SIGNAL),
      condition: condition(signalLimits),
      waitpoints: waitpointSpecs,
      timeout: duration(LEAST_TIMEOUT_MS, MAX_TIMEOUT_MS),
      timeoutBehavior: enumNumber(SuspensionTimeoutBehaviorSchema),
      resumeDelay: duration(0, CENTURY_MS),
      note: text(NOTE_BYTES),
      idempotencyKey: optionalName(),
    } satisfies Shape<SuspendExecutionRequest>)
    .check(({ value, issues }) => {
      if (value.condition.kind !== 'timeout_only' || value.timeout !== null) return;
      refuse(issues, value.timeout, 'is required where nothing but the timeout ends the wait', ['timeout']);
    });

  return async (message: SuspendExecutionRequest): Promise<SuspendExecutionResponse> => {
    const { namespace: name, lease, idempotencyKey, ...asked } = validate(request, message);
    const { executionId: execution } = lease;
    const namespaceId = await registry.namespace(name);
    if (namespaceId === undefined) throw executionNotFound(execution);
    const waitpoints = asked.waitpoints.map(newWaitpoint);
    const answer = await suspend(database, {
      ...heldLease(lease, namespaceId),
      hash: contentHash([idempotencyKey, asked], null),
      once: idempotencyKey === null ? null : contentHash([idempotencyKey], null),
      reason: asked.reason,
      condition: asked.condition,
      note: asked.note,
      timeoutMs: asked.timeout,
      behavior: asked.timeoutBehavior || (asked.condition.kind === 'timeout_only' ? RESUME : FAIL),
      resumeDelayMs: asked.resumeDelay ?? 0,
      named: waitpointsIn(asked.condition),
      countsWaitpoints: countsWaitpoints(asked.condition),
      waitpoints,
      secret: waitpoints.length === 0 ? null : await tokens.presentSecret(namespaceId),
      mostWaitpoints: signalLimits.waitpoints,
    });
    if (isRefused(answer)) throw refusalOf(answer, execution);
    if (isRefusedSuspension(answer)) throw suspensionRefusal(answer, execution, signalLimits);
    const { attempt, number, timeoutAt, again } = answer;
    const suspended = answer.verdict === 'parked';
    if (!again) {
      for (const { expiryMs } of waitpoints) after.due('suspensions', expiryMs);
      if (suspended && asked.timeout !== null) after.due('suspensions', asked.timeout);
      after.committed(1);
      if (answer.class !== null) after.freed(answer.class);
      tellConsequences(after, answer);
    }
    const [matched] = suspended ? [] : await readMatchedSignals(database, [{ execution, attempt, number }]);
    return create(SuspendExecutionResponseSchema, {
      suspended,
      signals: matched?.signals.map(toSignal) ?? [],
      moreSignals: matched?.more ?? false,
      waitpoints: await Promise.all(answer.waitpoints.map((held) => withToken(tokens, namespaceId, held))),
      suspensionNumber: number,
      duplicate: again,
      ...(timeoutAt && { timeoutTime: toTimestamp(timeoutAt) }),
    });
  };
}
