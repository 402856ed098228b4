/** A failure as whoever handled something reports it. */
import { z } from 'zod';
import { type Failure, FailureClassSchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import { FailureClass } from '../../domain/states.js';
import { enumNumber, optionalName, payload, type Shape } from '../validation.js';
import { failureMessage } from './failure-message.js';

export function reportedFailure(maxPayloadBytes: number) {
  return z.object({
    failureClass: enumNumber(FailureClassSchema).transform((number) => number || FailureClass.TRANSIENT),
    message: failureMessage,
    code: optionalName(),
    details: payload(maxPayloadBytes),
  } satisfies Shape<Failure>);
}
