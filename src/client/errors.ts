/**
 * The one error class of the client and worker libraries, rebuilt from the ErrorDetail of an answer, never from its text.
 *
 * `reason` and `metadata` are the contract; `message` is for people. An error without a reason did not come from the
 * engine: the connection failed, or something between refused the call.
 */
import { type Duration, durationMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorDetail, ErrorDetailSchema, type ItemError } from '../../gen/tailrace/v1/error_pb.js';

export { Code };

export interface FieldViolation {
  /** Path of the field from the request, such as `executions[3].lane`. */
  readonly field: string;
  readonly description: string;
}

/** Refusals that are over by themselves. */
const PASSING = [
  'CONTENTION',
  'OVERLOADED',
  'DATABASE_UNAVAILABLE',
  'DRAINING',
  'TOO_MANY_STREAMS',
  'STREAM_TOO_SLOW',
  'DEADLINE_EXCEEDED',
];

/** What a lost connection, a server that hangs, or a proxy in front of one that is away looks like. */
const CONNECTION_CODES = [
  Code.Unavailable,
  Code.Aborted,
  Code.Internal,
  Code.Unknown,
  Code.Canceled,
  Code.DeadlineExceeded,
];

/** What the engine says of content that it will never accept. */
const CONTENT = ['INVALID_FIELD', 'MALFORMED_REQUEST', 'PAYLOAD_TOO_LARGE'];

export class TailraceError extends Error {
  override readonly name = 'TailraceError';
  readonly code: Code;
  /** Stable, such as `LEASE_LOST`; undefined if the engine did not answer. */
  readonly reason: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds after which a repeat makes sense, where the engine said so. */
  readonly retryDelayMs: number | undefined;
  /** Every refused field, for `INVALID_FIELD`. */
  readonly violations: readonly FieldViolation[];

  constructor(code: Code, message: string, detail?: ErrorDetail, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.reason = detail?.reason;
    this.metadata = { ...detail?.metadata };
    this.retryDelayMs = detail?.retryDelay && milliseconds(detail.retryDelay);
    this.violations = (detail?.fieldViolations ?? []).map(({ field, description }) => ({ field, description }));
  }

  /** Whether the same call may succeed later. A call that may not be repeated at all is its caller's business. */
  get passing(): boolean {
    return this.reason === undefined ? CONNECTION_CODES.includes(this.code) : PASSING.includes(this.reason);
  }

  /** Whether what was sent is at fault, so that sending it again is useless. */
  get refusesContent(): boolean {
    return this.reason !== undefined && CONTENT.includes(this.reason);
  }
}

/** Anything a call may throw. Errors that are none of ours become UNKNOWN with the original as their cause. */
export function asTailraceError(thrown: unknown): TailraceError {
  if (thrown instanceof TailraceError) return thrown;
  const error = ConnectError.from(thrown);
  const [detail] = error.findDetails(ErrorDetailSchema);
  return new TailraceError(error.code, error.rawMessage, detail, thrown);
}

/** The refusal of one item of a batch. ErrorCode has the numbers of Code. */
export function fromItemError({ code, message, detail }: ItemError): TailraceError {
  return new TailraceError(code as number, message, detail);
}

function milliseconds(duration: Duration): number {
  return Math.max(0, durationMs(duration));
}
