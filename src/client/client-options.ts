/** What the calls of the client take and answer, with units, ranges and defaults. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { CompletionFilterSchema, LogFilterSchema } from '../../gen/tailrace/v1/log_pb.js';
import type { AwaitBounds } from './awaiting.js';
import type { CancelRules } from './cancel-policy.js';
import type { ConnectionOptions } from './connection.js';
import type { TailraceError } from './errors.js';
import type { AnyEvents, EventSchemas } from './event-schemas.js';
import type { WatchOptions } from './watch.js';

export interface ClientOptions<E extends EventSchemas = AnyEvents> extends ConnectionOptions {
  /** Namespace of every call. Default: the server's, `default`. */
  readonly namespace?: string;
  /** How long a call is repeated while the server or its database is away. Milliseconds, 0 to 3,600,000, default 30,000. */
  readonly retryForMs?: number;
  /** Schemas of the payloads of events by type: calls are typed by them, and what does not fit is not sent. Default: any. */
  readonly events?: E;
}

export interface CreatedExecution {
  readonly executionId: string;
  /** Whether an earlier call had made it. */
  readonly duplicate: boolean;
  readonly state: ExecutionState;
}

export type CreateResult =
  | ({ readonly ok: true } & CreatedExecution)
  | { readonly ok: false; readonly error: TailraceError };

export interface CancelOptions extends CancelRules {
  /** For people, up to 1 KiB. */
  readonly reason?: string;
  /** How long to wait for a running execution to end. Milliseconds, 0 (default) to 60,000. */
  readonly waitMs?: number;
}

export interface AwaitOptions extends AwaitBounds {
  /** Leave results out. */
  readonly omitResults?: boolean;
}

export type AwaitConsumerOptions = AwaitBounds;

export interface WatchCompletionsOptions extends WatchOptions {
  /** Which executions. Default: all of the namespace. */
  readonly filter?: MessageInitShape<typeof CompletionFilterSchema>;
  /** Leave results out. */
  readonly omitResults?: boolean;
}

export interface WatchLogOptions extends WatchOptions {
  /** Which entries. Default: all of the namespace. */
  readonly filter?: MessageInitShape<typeof LogFilterSchema>;
  /** Leave payloads and results out. */
  readonly omitPayloads?: boolean;
}

export interface WatchFlowOptions extends Omit<WatchOptions, 'from'> {
  /** Go on after a cursor seen before. Default: from the present state on. */
  readonly cursor?: string;
  /** Leave payloads and results out. */
  readonly omitPayloads?: boolean;
}

export interface AwaitFlowOptions extends AwaitBounds {
  /** `ended` (default): SUCCEEDED, FAILED or CANCELED. `settled`: nothing of it is live; it may be open for more. */
  readonly until?: 'ended' | 'settled';
}
