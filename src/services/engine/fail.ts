/** FailExecutions: retried, or given up with a dead letter, as the class and the retry policy say. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type FailExecutionsRequest,
  type FailExecutionsResponse,
  FailExecutionsResponseSchema,
  type FailedExecution,
  FailedExecutionSchema,
  FailureEffect,
  type FailureReport,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import type { EngineError } from '../../domain/errors.js';
import { EndCall, ExecutionState, FailureClass } from '../../domain/states.js';
import { type EndAnswer, isRefused } from '../../repository/leases/index.js';
import { toTimestamp } from '../conversion/times.js';
import { sized } from '../payload-limits.js';
import { CENTURY_MS, duration, list, namespace, refuse, type Shape, timestamp, validate } from '../validation.js';
import { contentHash } from './content-hash.js';
import type { EngineServiceDeps } from './deps.js';
import { emittedHash } from './events/emitted-event.js';
import { failureReportEvents, storedEvents } from './events/failure-event.js';
import { answerEach, checkItems, refuseRepeats } from './items.js';
import { heldLease, leaseRef } from './lease-ref.js';
import { refusalOf } from './refusals.js';
import { reportedFailure } from './reported-failure.js';
import { required } from './required.js';

const MAX_ITEMS = 500;

const request = z.object({
  namespace,
  reports: list(z.custom<FailureReport>(), MAX_ITEMS, 1),
} satisfies Shape<FailExecutionsRequest>);

export function failExecutionsCall(deps: EngineServiceDeps) {
  const { registry, writers } = deps;
  const reportFor = sized(deps, failureReport);
  return async (message: FailExecutionsRequest): Promise<FailExecutionsResponse> => {
    const asked = validate(request, message);
    const namespaceId = await registry.namespace(asked.namespace);
    const checked = refuseRepeats(
      checkItems(await reportFor(asked.namespace), asked.reports, 'reports'),
      (item) => item.lease.executionId,
      (i) => `reports[${i}].lease.execution_id`,
    );
    const results = await answerEach(
      checked,
      (items) =>
        writers.end(
          EndCall.FAIL,
          items.map(({ lease, failure, retryTime, retryDelay, failureEvents: told }) => ({
            ...heldLease(lease, namespaceId),
            hash: contentHash(
              [
                ...[failure.failureClass, failure.message, failure.code, retryTime, retryDelay],
                ...(told.length > 0 ? [told.map(emittedHash)] : []),
              ],
              failure.details,
            ),
            failure: { class: failure.failureClass, code: failure.code },
            message: failure.message,
            runAt: retryTime,
            delayMs: retryDelay,
            content: failure.details,
            failureEvents: told.length > 0 ? JSON.stringify(storedEvents(told)) : null,
          })),
        ),
      (answer, item) => toFailed(answer, item.lease.executionId),
    );
    return create(FailExecutionsResponseSchema, { results });
  };
}

function failureReport(maxPayloadBytes: number) {
  return z
    .object({
      lease: required(leaseRef),
      failure: required(reportedFailure(maxPayloadBytes)),
      retryTime: timestamp,
      retryDelay: duration(0, CENTURY_MS),
      failureEvents: failureReportEvents(maxPayloadBytes),
    } satisfies Shape<FailureReport>)
    .check((context) => {
      const { retryTime, retryDelay, failure: told } = context.value;
      if (retryTime !== null && retryDelay !== null) {
        refuse(context.issues, retryDelay, 'must be absent when retry_time is given', ['retryDelay']);
      }
      if (told?.failureClass === FailureClass.RATE_LIMITED && retryTime === null && retryDelay === null) {
        refuse(context.issues, retryTime, 'or retry_delay is required for RATE_LIMITED', ['retryTime']);
      }
    });
}

function toFailed(answer: EndAnswer, execution: string): FailedExecution | EngineError {
  if (isRefused(answer)) return refusalOf(answer, execution);
  const { state } = answer;
  const gaveUp = state === ExecutionState.FAILED || state === ExecutionState.EXPIRED;
  return create(FailedExecutionSchema, {
    effect: effectOf(state),
    state,
    ...(answer.run_at && { runTime: toTimestamp(answer.run_at) }),
    deadLetterId: answer.letter ?? '',
    deadLetterReason: gaveUp ? (answer.reason ?? 0) : 0,
    failureCount: answer.failures ?? 0,
    duplicate: answer.verdict === 'duplicate',
  });
}

function effectOf(state: number): FailureEffect {
  if (state === ExecutionState.CANCELED) return FailureEffect.CANCELED;
  if (state === ExecutionState.FAILED || state === ExecutionState.EXPIRED) return FailureEffect.DEAD_LETTERED;
  return FailureEffect.RETRY;
}
