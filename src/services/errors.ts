/**
 * The one table from reasons to codes, and what becomes of anything a handler throws.
 *
 * An EngineError keeps its message and facts and gains its code. Anything else is a defect: its text is withheld,
 * the client gets INTERNAL with an `error_id`, and the log gets the error under that id. Every refusal carries one
 * ErrorDetail; clients rebuild typed errors from it, never from text.
 */
import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { codeToString } from '@connectrpc/connect/protocol-connect';
import { ErrorDetailSchema, type ItemError, ItemErrorSchema } from '../../gen/tailrace/v1/error_pb.js';
import { EngineError, type Reason } from '../domain/errors.js';

/** A reason that is missing here does not compile. */
const CODES: Readonly<Record<Reason, Code>> = {
  MALFORMED_REQUEST: Code.InvalidArgument,
  INVALID_FIELD: Code.InvalidArgument,
  BAD_CURSOR: Code.InvalidArgument,
  CYCLE: Code.InvalidArgument,
  SELF_EDGE: Code.InvalidArgument,
  EXECUTION_NOT_FOUND: Code.NotFound,
  FLOW_NOT_FOUND: Code.NotFound,
  JOIN_NOT_FOUND: Code.NotFound,
  LANE_NOT_FOUND: Code.NotFound,
  ATTEMPT_NOT_FOUND: Code.NotFound,
  WAITPOINT_NOT_FOUND: Code.NotFound,
  BUDGET_NOT_FOUND: Code.NotFound,
  WORKER_NOT_FOUND: Code.NotFound,
  DEAD_LETTER_NOT_FOUND: Code.NotFound,
  EVENT_NOT_FOUND: Code.NotFound,
  STREAM_NOT_FOUND: Code.NotFound,
  SUBSCRIPTION_NOT_FOUND: Code.NotFound,
  CONSUMER_NOT_FOUND: Code.NotFound,
  GENERATION_NOT_FOUND: Code.NotFound,
  REDRIVE_NOT_FOUND: Code.NotFound,
  NAMESPACE_NOT_FOUND: Code.NotFound,
  TOKEN_NOT_FOUND: Code.NotFound,
  SERVICE_NOT_FOUND: Code.NotFound,
  REQUEST_ID_REUSED: Code.AlreadyExists,
  EVENT_ID_REUSED: Code.AlreadyExists,
  EVENT_ID_TOO_OLD: Code.FailedPrecondition,
  LEASE_LOST: Code.FailedPrecondition,
  EXECUTION_TERMINAL: Code.FailedPrecondition,
  LANE_CLOSED: Code.FailedPrecondition,
  LANE_PAUSED: Code.FailedPrecondition,
  CAPABILITY_MISSING: Code.FailedPrecondition,
  BUDGET_EXCEEDED: Code.FailedPrecondition,
  NOT_SUSPENDED: Code.FailedPrecondition,
  SECRETS_UNAVAILABLE: Code.FailedPrecondition,
  FLOW_SEALED: Code.FailedPrecondition,
  EDGE_TOO_LATE: Code.FailedPrecondition,
  WRONG_STATE: Code.FailedPrecondition,
  CONSUMER_HELD: Code.FailedPrecondition,
  CONSUMER_PAUSED: Code.FailedPrecondition,
  CONSUMER_HALTED: Code.FailedPrecondition,
  GENERATION_NOT_CAUGHT_UP: Code.FailedPrecondition,
  SCHEMA_TOO_NEW: Code.FailedPrecondition,
  CONTENTION: Code.Aborted,
  VERSION_CONFLICT: Code.Aborted,
  REVISION_CONFLICT: Code.Aborted,
  STREAM_VERSION_CONFLICT: Code.Aborted,
  BATCH_REFUSED: Code.Aborted,
  EPOCH_CONFLICT: Code.Aborted,
  CURSOR_PRUNED: Code.OutOfRange,
  PAYLOAD_TOO_LARGE: Code.ResourceExhausted,
  FLOW_LIMIT_EXCEEDED: Code.ResourceExhausted,
  JOIN_LIMIT_EXCEEDED: Code.ResourceExhausted,
  DEPTH_LIMIT_EXCEEDED: Code.ResourceExhausted,
  SIGNAL_LIMIT_EXCEEDED: Code.ResourceExhausted,
  WAITPOINT_LIMIT_EXCEEDED: Code.ResourceExhausted,
  FRAME_LIMIT_EXCEEDED: Code.ResourceExhausted,
  QUOTA_EXCEEDED: Code.ResourceExhausted,
  TOO_MANY_STREAMS: Code.ResourceExhausted,
  STREAM_TOO_SLOW: Code.ResourceExhausted,
  OVERLOADED: Code.ResourceExhausted,
  DATABASE_UNAVAILABLE: Code.Unavailable,
  DRAINING: Code.Unavailable,
  ORIGIN_REFUSED: Code.PermissionDenied,
  INVALID_WAITPOINT_TOKEN: Code.PermissionDenied,
  INVALID_TOKEN: Code.Unauthenticated,
  ROLE_REQUIRED: Code.PermissionDenied,
  NAMESPACE_DENIED: Code.PermissionDenied,
  CANCELED: Code.Canceled,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  UNIMPLEMENTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
};

/** Where defects are reported. pino's logger is one. */
export interface DefectLog {
  error(fields: object, message: string): void;
}

export function codeOf(reason: Reason): Code {
  return CODES[reason];
}

/** The code as gRPC writes it, such as `NOT_FOUND`. */
export function codeNameOf(reason: Reason): string {
  return codeToString(CODES[reason]).toUpperCase();
}

/**
 * What to refuse with when a handler threw `thrown`. `procedure` says in the log where it happened.
 * A defect is logged here and nowhere else, so call this once per failure.
 */
export function asEngineError(thrown: unknown, log: DefectLog, procedure: string): EngineError {
  if (thrown instanceof EngineError) return thrown;
  if (thrown instanceof Error && thrown.name === 'AbortError') {
    // Node wraps the reason of the signal that ended a wait.
    return thrown.cause instanceof EngineError ? thrown.cause : new EngineError('CANCELED', 'the call was canceled');
  }
  const errorId = randomUUID();
  log.error({ errorId, procedure, error: describe(thrown) }, 'a handler failed unexpectedly');
  return new EngineError('INTERNAL', `internal error, logged as ${errorId}`, { metadata: { error_id: errorId } });
}

/** The refusal of a whole call. */
export function toConnectError(error: EngineError): ConnectError {
  const value = detailOf(error);
  return new ConnectError(shortened(error.message), codeOf(error.reason), undefined, [
    { desc: ErrorDetailSchema, value },
  ]);
}

/** The refusal of one item of a batch whose items are independent. */
export function toItemError(error: EngineError): ItemError {
  return create(ItemErrorSchema, {
    code: codeOf(error.reason) as number, // ErrorCode has the numbers of Code.
    message: shortened(error.message),
    detail: detailOf(error),
  });
}

/**
 * gRPC carries details in trailers, and clients in other languages give up on trailers beyond 8 KiB, which a batch of
 * a thousand wrong items would reach. What is left out is counted.
 */
const VIOLATION_BYTES = 3_000;
const MESSAGE_LENGTH = 500;

function detailOf(error: EngineError): MessageInitShape<typeof ErrorDetailSchema> {
  const shown: EngineError['violations'][number][] = [];
  let room = VIOLATION_BYTES;
  for (const { field, description } of error.violations) {
    const violation = { field: shortened(field), description: shortened(description) };
    room -= Buffer.byteLength(violation.field) + Buffer.byteLength(violation.description);
    if (room < 0) break;
    shown.push(violation);
  }
  const omitted = error.violations.length - shown.length;
  return {
    reason: error.reason,
    metadata: omitted > 0 ? { ...error.metadata, violations_omitted: String(omitted) } : { ...error.metadata },
    fieldViolations: shown,
    ...(error.retryDelayMs === undefined ? {} : { retryDelay: durationFromMs(error.retryDelayMs) }),
  };
}

/** Texts quote what the client sent, which may be long; cut between characters, never inside one. */
function shortened(text: string): string {
  return text.length <= MESSAGE_LENGTH ? text : `${[...text.slice(0, MESSAGE_LENGTH)].slice(0, -1).join('')}…`;
}

interface DefectDescription {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: DefectDescription;
}

/** Only these fields: driver errors carry the row and the parameters in others, and payloads are never logged. */
function describe(thrown: unknown, depth = 3): DefectDescription {
  if (!(thrown instanceof Error)) return { name: typeof thrown, message: 'something that is not an Error was thrown' };
  const { code } = thrown as { code?: unknown };
  return {
    name: thrown.name,
    message: thrown.message,
    ...(typeof code === 'string' ? { code } : {}),
    ...(thrown.stack === undefined ? {} : { stack: thrown.stack }),
    ...(thrown.cause instanceof Error && depth > 0 ? { cause: describe(thrown.cause, depth - 1) } : {}),
  };
}
