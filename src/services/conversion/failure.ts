/** Failures and progress as attempts, outcomes and dead letters keep them. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { FailureSchema, ProgressSchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import { toPayload } from './payload.js';
import { toTimestamp } from './times.js';

interface FailureColumns {
  readonly failure_class: number | null;
  readonly failure_code: string | null;
  readonly message: string | null;
  readonly details_type: string | null;
  readonly details: Buffer | null;
}

/** The class is UNSPECIFIED where the engine itself gave up, for want of a report. */
export function toFailure(row: FailureColumns): MessageInitShape<typeof FailureSchema> {
  return {
    failureClass: row.failure_class ?? 0,
    message: row.message ?? '',
    code: row.failure_code ?? '',
    ...(row.details_type !== null && row.details !== null && { details: toPayload(row.details_type, row.details) }),
  };
}

interface ProgressColumns {
  readonly progress_percent: number | null;
  readonly progress_message: string | null;
  readonly progress_at: Date | null;
}

/** To be spread into a message: nothing when none was reported. */
export function progressOf(row: ProgressColumns): { progress?: MessageInitShape<typeof ProgressSchema> } {
  if (row.progress_at === null) return {};
  return {
    progress: {
      percent: row.progress_percent ?? 0,
      message: row.progress_message ?? '',
      updateTime: toTimestamp(row.progress_at),
    },
  };
}
