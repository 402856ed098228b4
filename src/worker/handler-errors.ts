/**
 * What a handler throws to say how it failed. Any other error is a transient failure: it counts, and the execution is
 * tried again after a backoff.
 */

/** Trying again is useless: the execution becomes a dead letter at once. */
export class PermanentError extends Error {
  override readonly name: string = 'PermanentError';
}

/** Somebody else's limit was met: tried again at that time, without counting. */
export class RateLimitedError extends Error {
  override readonly name: string = 'RateLimitedError';
  readonly until: Date | number;

  /** `until`: milliseconds from now, or an instant on the database's clock. */
  constructor(until: Date | number, message = 'rate limited', options?: ErrorOptions) {
    super(message, options);
    if (!(Number(until) >= 0)) throw new RangeError(`until must be milliseconds or an instant; it is ${String(until)}`);
    this.until = until;
  }
}

/** The execution ends CANCELED, without another attempt and without a dead letter. */
export class CanceledError extends Error {
  override readonly name: string = 'CanceledError';
}

/** Not a failure: the execution is handed back to run again later, without counting. Made by `ctx.delay()`. */
export class Delay extends Error {
  override readonly name = 'Delay';

  constructor(
    readonly delayMs: number,
    readonly reason = '',
  ) {
    super(`run again in ${delayMs} ms`);
    if (!(delayMs >= 0)) throw new RangeError(`a delay must be milliseconds; it is ${delayMs}`);
  }
}
