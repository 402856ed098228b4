/** What the failure of an entry's handler is told as. */
import { durationMs, type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { wallMs } from '../runtime/clock.js';
import type { FailureReport } from './consumer-calls.js';
import { outcomeOfThrown } from './outcome.js';

export interface EntryFailure {
  readonly failure: FailureReport;
  /** Somebody else's limit was met: tried again then, without counting. */
  readonly retryTime?: Timestamp;
  /** How long that is by this machine's clock. */
  readonly waitMs: number;
}

const NEVER = new AbortController().signal;

export function entryFailure(thrown: unknown): EntryFailure {
  const outcome = outcomeOfThrown(thrown, NEVER);
  if (outcome.kind === 'delayed') {
    const { delayMs, reason } = outcome;
    return later({ failureClass: FailureClass.RATE_LIMITED, message: reason, code: 'Delay' }, delayMs);
  }
  if (outcome.kind !== 'failed') throw new Error('what was thrown is a failure or a delay');
  const { failure, retryTime, retryDelay } = outcome;
  if (retryTime) return { failure, retryTime, waitMs: timestampMs(retryTime) - wallMs() };
  if (retryDelay) return later(failure, durationMs(retryDelay));
  // An entry cannot be canceled: it is handled one day, or given up.
  const canceled = failure.failureClass === FailureClass.CANCELED;
  return { failure: canceled ? { ...failure, failureClass: FailureClass.TRANSIENT } : failure, waitMs: 0 };
}

function later(failure: FailureReport, waitMs: number): EntryFailure {
  return { failure, retryTime: timestampFromMs(wallMs() + waitMs), waitMs };
}
