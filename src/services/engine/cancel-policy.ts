/** How running work is stopped, with what was left open filled in. */
import { z } from 'zod';
import {
  CancelMode,
  CancelModeSchema,
  type CancelPolicy,
  LateCompletion,
  LateCompletionSchema,
} from '../../../gen/tailrace/v1/cancel_pb.js';
import { duration, enumNumber, HOUR_MS, SECOND_MS, type Shape } from '../validation.js';

export interface Cancellation {
  /** End it at once instead of asking its holder. */
  readonly now: boolean;
  readonly graceMs: number;
  readonly acceptsLate: boolean;
}

export const DEFAULT_CANCELLATION: Cancellation = { now: false, graceMs: 30_000, acceptsLate: true };

/** Undefined when it is absent. */
export const cancelPolicy = z
  .object({
    mode: enumNumber(CancelModeSchema),
    grace: duration(SECOND_MS, HOUR_MS),
    lateCompletion: enumNumber(LateCompletionSchema),
  } satisfies Shape<CancelPolicy>)
  .transform(
    ({ mode, grace, lateCompletion }): Cancellation => ({
      now: mode === CancelMode.NOW,
      graceMs: grace ?? DEFAULT_CANCELLATION.graceMs,
      acceptsLate: lateCompletion !== LateCompletion.REFUSED,
    }),
  )
  .optional();
