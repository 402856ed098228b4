/**
 * The reasons a call can be refused, and the one error class that carries them.
 *
 * Everything the engine refuses on purpose is an EngineError; anything else that is thrown is a defect
 * and answers a bland INTERNAL. The code of each reason is decided in services/errors.ts.
 */

export const REASONS = [
  'MALFORMED_REQUEST',
  'INVALID_FIELD',
  'BAD_CURSOR',
  'CYCLE',
  'SELF_EDGE',
  'EXECUTION_NOT_FOUND',
  'FLOW_NOT_FOUND',
  'JOIN_NOT_FOUND',
  'LANE_NOT_FOUND',
  'ATTEMPT_NOT_FOUND',
  'WAITPOINT_NOT_FOUND',
  'BUDGET_NOT_FOUND',
  'WORKER_NOT_FOUND',
  'DEAD_LETTER_NOT_FOUND',
  'EVENT_NOT_FOUND',
  'STREAM_NOT_FOUND',
  'SUBSCRIPTION_NOT_FOUND',
  'CONSUMER_NOT_FOUND',
  'GENERATION_NOT_FOUND',
  'REDRIVE_NOT_FOUND',
  'NAMESPACE_NOT_FOUND',
  'TOKEN_NOT_FOUND',
  'SERVICE_NOT_FOUND',
  'REQUEST_ID_REUSED',
  'EVENT_ID_REUSED',
  'EVENT_ID_TOO_OLD',
  'LEASE_LOST',
  'EXECUTION_TERMINAL',
  'LANE_CLOSED',
  'LANE_PAUSED',
  'CAPABILITY_MISSING',
  'BUDGET_EXCEEDED',
  'NOT_SUSPENDED',
  'SECRETS_UNAVAILABLE',
  'FLOW_SEALED',
  'EDGE_TOO_LATE',
  'WRONG_STATE',
  'CONSUMER_HELD',
  'CONSUMER_PAUSED',
  'CONSUMER_HALTED',
  'GENERATION_NOT_CAUGHT_UP',
  'SCHEMA_TOO_NEW',
  'CONTENTION',
  'VERSION_CONFLICT',
  'REVISION_CONFLICT',
  'STREAM_VERSION_CONFLICT',
  'BATCH_REFUSED',
  'EPOCH_CONFLICT',
  'CURSOR_PRUNED',
  'PAYLOAD_TOO_LARGE',
  'FLOW_LIMIT_EXCEEDED',
  'JOIN_LIMIT_EXCEEDED',
  'DEPTH_LIMIT_EXCEEDED',
  'SIGNAL_LIMIT_EXCEEDED',
  'WAITPOINT_LIMIT_EXCEEDED',
  'FRAME_LIMIT_EXCEEDED',
  'QUOTA_EXCEEDED',
  'TOO_MANY_STREAMS',
  'STREAM_TOO_SLOW',
  'OVERLOADED',
  'DATABASE_UNAVAILABLE',
  'DRAINING',
  'ORIGIN_REFUSED',
  'INVALID_WAITPOINT_TOKEN',
  'INVALID_TOKEN',
  'ROLE_REQUIRED',
  'NAMESPACE_DENIED',
  'CANCELED',
  'DEADLINE_EXCEEDED',
  'UNIMPLEMENTED',
  'INTERNAL',
] as const;

export type Reason = (typeof REASONS)[number];

export interface FieldViolation {
  /** Path of the field in proto spelling, such as `executions[3].lane`. */
  readonly field: string;
  readonly description: string;
}

export interface EngineErrorOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** After how many milliseconds a repeat makes sense. */
  readonly retryDelayMs?: number;
  readonly violations?: readonly FieldViolation[];
  readonly cause?: unknown;
}

export class EngineError extends Error {
  override readonly name = 'EngineError';
  readonly metadata: Readonly<Record<string, string>>;
  readonly retryDelayMs: number | undefined;
  readonly violations: readonly FieldViolation[];

  constructor(
    readonly reason: Reason,
    message: string,
    options: EngineErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.metadata = options.metadata ?? {};
    this.retryDelayMs = options.retryDelayMs;
    this.violations = options.violations ?? [];
  }
}
