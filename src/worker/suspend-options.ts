/** What `ctx.suspend()` can be told, and the message made from it. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { SuspendExecutionRequestSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import { SuspensionReason, SuspensionTimeoutBehavior } from '../../gen/tailrace/v1/signal_pb.js';
import type { Condition } from './conditions.js';

export interface WaitpointOptions {
  /** When it closes if nothing came, from now. Milliseconds, 1,000 to 365 days, default 7 days. */
  readonly expiryMs?: number;
}

export interface SuspendOptions {
  /** What to wait for: `signal()`, `anySignal()`, `allOf()`, `count()`, `operatorOnly()` or `timeoutOnly()`. */
  readonly condition: Condition;
  /**
   * Waitpoints to make with it, up to 100: keys, or keys with an expiry. Their tokens are told to nobody; make one with
   * `ctx.waitpoint()` before, where its token is to be handed out.
   */
  readonly waitpoints?: readonly (string | ({ readonly key: string } & WaitpointOptions))[];
  /** Longest wait. Milliseconds, 100 to 365 days. Default: none; `timeoutOnly()` needs one. */
  readonly timeoutMs?: number;
  /**
   * What the timeout does. `fail` (default) and `expire` end the execution with a dead letter, `cancel` without one;
   * `resume` (default of `timeoutOnly()`) goes on with `timedOut`; `escalate` leaves it to an operator.
   */
  readonly onTimeout?: 'fail' | 'cancel' | 'expire' | 'resume' | 'escalate';
  /** Between the end of the wait and the next call of the handler. Milliseconds, default 0. */
  readonly resumeDelayMs?: number;
  /** For people and lists. Default `signal`. */
  readonly reason?: 'signal' | 'approval' | 'callback' | 'tool_result' | 'operator_review' | 'policy' | 'step';
  /** For people, up to 1 KiB, for example what is to be approved. */
  readonly note?: string;
}

const BEHAVIORS = {
  fail: SuspensionTimeoutBehavior.FAIL,
  cancel: SuspensionTimeoutBehavior.CANCEL,
  expire: SuspensionTimeoutBehavior.EXPIRE,
  resume: SuspensionTimeoutBehavior.RESUME,
  escalate: SuspensionTimeoutBehavior.ESCALATE,
} as const;

const REASONS = {
  signal: SuspensionReason.SIGNAL,
  approval: SuspensionReason.APPROVAL,
  callback: SuspensionReason.CALLBACK,
  tool_result: SuspensionReason.TOOL_RESULT,
  operator_review: SuspensionReason.OPERATOR_REVIEW,
  policy: SuspensionReason.POLICY,
  step: SuspensionReason.STEP,
} as const;

export function toSuspension(options: SuspendOptions) {
  const { condition, waitpoints = [], timeoutMs, onTimeout, resumeDelayMs, reason, note = '' } = options;
  return {
    condition,
    note,
    reason: REASONS[reason ?? 'signal'],
    waitpoints: waitpoints.map((asked) => toWaitpointSpec(typeof asked === 'string' ? { key: asked } : asked)),
    ...(timeoutMs !== undefined && { timeout: durationFromMs(timeoutMs) }),
    ...(onTimeout && { timeoutBehavior: BEHAVIORS[onTimeout] }),
    ...(resumeDelayMs !== undefined && { resumeDelay: durationFromMs(resumeDelayMs) }),
  } satisfies MessageInitShape<typeof SuspendExecutionRequestSchema>;
}

export function toWaitpointSpec({ key, expiryMs }: { readonly key: string } & WaitpointOptions) {
  return { key, ...(expiryMs !== undefined && { expiry: durationFromMs(expiryMs) }) };
}
