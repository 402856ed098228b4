/** What a handler is given: the claim, readably, and the ways to speak while it works. */
import type { AttemptKind, Failure } from '../../gen/tailrace/v1/attempt_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { Content } from '../client/content.js';
import { Delay } from './handler-errors.js';
import type { HeldLease } from './held-lease.js';
import type { LogFields, WorkerLog } from './log.js';

/**
 * Does the work and returns its result: any JSON value, bytes, what `text()` and `bytes()` make, or nothing. It may run
 * more than once for one execution; give `idempotencyKey` to whatever it changes elsewhere.
 */
export type Handler = (context: HandlerContext) => unknown;

export class HandlerContext {
  /** Everything the engine handed over, including joined inputs, trigger and resume information. */
  readonly claim: Claim;
  readonly input: Content;
  /** Aborts with one of CancelRequestedError, LeaseLostError, AttemptTimeoutError, WorkerStoppingError as its reason. */
  readonly signal: AbortSignal;
  readonly #lease: HeldLease;
  readonly #tell: () => void;
  readonly #log: WorkerLog;

  constructor(lease: HeldLease, tell: () => void, log: WorkerLog) {
    this.claim = lease.claim;
    this.input = new Content(lease.claim.input);
    this.signal = lease.signal;
    this.#lease = lease;
    this.#tell = tell;
    this.#log = log;
  }

  get executionId(): string {
    return this.claim.executionId;
  }

  get type(): string {
    return this.claim.type;
  }

  get lane(): string {
    return this.claim.lane;
  }

  get tags(): Readonly<Record<string, string>> {
    return this.claim.tags;
  }

  /** From 1, without gaps. */
  get attemptNumber(): number {
    return this.claim.attemptNumber;
  }

  /** Why this attempt was made. */
  get attemptKind(): AttemptKind {
    return this.claim.attemptKind;
  }

  /** Whether a failure that counts will be the last one. */
  get lastAttempt(): boolean {
    return this.claim.maxAttempts > 0 && this.claim.failureCount + 1 >= this.claim.maxAttempts;
  }

  /** How the last failed attempt failed. */
  get previousFailure(): Failure | undefined {
    return this.claim.previousFailure;
  }

  /** The same over all attempts and redrives of the execution. */
  get idempotencyKey(): string {
    return this.claim.idempotencyKey;
  }

  /** Rises with every grant on the execution. Outside systems that remember the highest can refuse older holders. */
  get fencingToken(): bigint {
    return this.#lease.ref.fencingToken;
  }

  /**
   * Shows how far it is while it runs: 0 to 100, and up to 1 KiB for people. Told at most ten times a second, the last
   * report winning; one made right before the end may not be told any more.
   */
  progress(percent: number, message = ''): void {
    const told = Number.isFinite(percent) ? Math.min(100, Math.max(0, percent)) : 0;
    this.#lease.progress = { percent: told, message: message.replaceAll('\0', '').toWellFormed().slice(0, 256) };
    this.#tell();
  }

  /**
   * Hands the execution back to run again after so many milliseconds, without counting. Ends the handler by throwing:
   * let it pass.
   */
  delay(ms: number, reason = ''): never {
    throw new Delay(ms, reason);
  }

  /** To the worker's `log`, with the execution's id, type, lane and attempt. */
  log(message: string, fields: LogFields = {}): void {
    this.#log('info', message, fields);
  }
}
