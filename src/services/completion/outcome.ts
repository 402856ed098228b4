/** An execution's outcome in the words of the contract. */
import { create } from '@bufbuild/protobuf';
import { FailureSchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import type { Outcome } from '../../../gen/tailrace/v1/execution_pb.js';
import { ExecutionState } from '../../domain/states.js';
import type { ExecutionOutcome } from '../../repository/log/index.js';
import { toPayload } from '../conversion/payload.js';
import { toTimestamp } from '../conversion/times.js';

export function toOutcome(outcome: ExecutionOutcome, omitResult: boolean): Outcome {
  const { state, failureClass, message, resultType } = outcome;
  const gaveUp = state === ExecutionState.FAILED || state === ExecutionState.EXPIRED;
  const shown = outcome.result !== null && !omitResult;
  // What create() would make, at a fraction of its cost.
  return {
    $typeName: 'tailrace.v1.Outcome',
    state,
    reason: outcome.reason ?? 0,
    endTime: toTimestamp(outcome.endedAt),
    attemptNumber: outcome.attempt,
    fencingToken: outcome.token ?? 0n,
    resultOmitted: outcome.resultOmitted || (outcome.result !== null && omitResult),
    cancelReason: state === ExecutionState.CANCELED ? (message ?? '') : '',
    deadLetterId: outcome.letter ?? '',
    result: shown && outcome.result ? toPayload(resultType ?? '', outcome.result) : undefined,
    failure: gaveUp
      ? create(FailureSchema, {
          failureClass: failureClass ?? 0,
          message: message ?? '',
          code: outcome.failureCode ?? '',
        })
      : undefined,
  };
}
