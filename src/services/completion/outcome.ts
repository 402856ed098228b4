/** An execution's outcome in the words of the contract. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { type Outcome, OutcomeSchema } from '../../../gen/tailrace/v1/execution_pb.js';
import type { PayloadSchema } from '../../../gen/tailrace/v1/payload_pb.js';
import { ExecutionState } from '../../domain/states.js';
import type { ExecutionOutcome } from '../../repository/log/index.js';

export function toOutcome(outcome: ExecutionOutcome, omitResult: boolean): Outcome {
  const { failureClass, message, resultType } = outcome;
  const shown = outcome.result !== null && !omitResult;
  return create(OutcomeSchema, {
    state: outcome.state,
    reason: outcome.reason ?? 0,
    endTime: timestampFromDate(outcome.endedAt),
    attemptNumber: outcome.attempt,
    fencingToken: outcome.token ?? 0n,
    resultOmitted: outcome.resultOmitted || (outcome.result !== null && omitResult),
    cancelReason: outcome.state === ExecutionState.CANCELED && failureClass === null ? (message ?? '') : '',
    deadLetterId: outcome.letter ?? '',
    ...(shown && outcome.result && { result: toPayload(resultType ?? '', outcome.result) }),
    ...(failureClass !== null && {
      failure: { failureClass, message: message ?? '', code: outcome.failureCode ?? '' },
    }),
  });
}

const TEXTUAL = /^(text\/|application\/(json|xml)\b|[^;]*\+(json|xml)\b)/i;

/** Text for textual types, so that an answer can be read as it stands; bytes otherwise. */
export function toPayload(contentType: string, content: Buffer): MessageInitShape<typeof PayloadSchema> {
  return TEXTUAL.test(contentType)
    ? { contentType, body: { case: 'text', value: content.toString('utf8') } }
    : { contentType, body: { case: 'data', value: content } };
}
