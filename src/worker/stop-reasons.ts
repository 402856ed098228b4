/**
 * Why a handler's signal was aborted: `ctx.signal.reason` is one of these. A handler that stops because of it may
 * simply throw it on, as functions that take a signal do by themselves.
 */
import type { CancelRequest } from '../../gen/tailrace/v1/cancel_pb.js';
import { CanceledError } from './handler-errors.js';

/** Somebody canceled the execution. Stop, or finish before the grace ends if late completions are accepted. */
export class CancelRequestedError extends CanceledError {
  override readonly name = 'CancelRequestedError';

  constructor(readonly request: CancelRequest) {
    super(request.reason ? `cancellation was requested: ${request.reason}` : 'cancellation was requested');
  }
}

/** The execution may belong to another worker by now. Stop at once; whatever is reported may be refused. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';

  /** `why` is the engine's word (stale, expired, revoked, superseded, terminal) or `trust_ended`: it was not reached in time. */
  constructor(
    readonly why: string,
    options?: ErrorOptions,
  ) {
    super(`the lease was lost: ${why}`, options);
  }
}

/** The attempt took longer than it may, or the execution's deadline has passed. */
export class AttemptTimeoutError extends Error {
  override readonly name = 'AttemptTimeoutError';

  constructor() {
    super('the attempt ran out of time');
  }
}

/** The worker stops and its drain bound has passed; the execution is handed back without counting. */
export class WorkerStoppingError extends Error {
  override readonly name = 'WorkerStoppingError';

  constructor() {
    super('the worker is stopping');
  }
}

/**
 * Not a failure: the execution waits, and its handler is called again when the wait is over. Thrown by `ctx.suspend()` and
 * `ctx.sleep()`: let it pass. Whatever the handler still returns or throws is not reported.
 */
export class Suspended extends Error {
  override readonly name = 'Suspended';

  constructor() {
    super('the execution is suspended; its handler is called again');
  }
}
