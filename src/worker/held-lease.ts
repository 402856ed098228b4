/**
 * One lease as its holder may see it.
 *
 * The trust window is the time in which the holder may believe that nobody else has the execution. It is counted from
 * before the claim or renewal was sent, so the time an answer took is not believed twice, and it is shorter than the
 * lease by a tenth, which covers clocks that run at different rates and timers that fire late. At its end the signal
 * aborts, whether or not the server can be reached. The engine's fence is what keeps a late report out; the window
 * keeps two handlers from working side by side.
 *
 * Not covered: a process that was frozen wakes up inside its handler; the signal aborts as soon as timers run again.
 */
import { durationMs, type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { CancelRequest } from '../../gen/tailrace/v1/cancel_pb.js';
import type { Claim, LeaseRef } from '../../gen/tailrace/v1/lease_pb.js';
import { after, monotonicMs } from '../runtime/clock.js';
import { AttemptTimeoutError, CancelRequestedError, LeaseLostError } from './stop-reasons.js';

const TRUSTED_SHARE = 0.9;
const RENEWED_SHARE = 1 / 3;
const STANDARD_LEASE_MS = 6_000;
/** Beyond it timers fire at once. */
const LONGEST_TIMER_MS = 2 ** 31;

export interface ProgressReport {
  readonly percent: number;
  readonly message: string;
}

export class HeldLease {
  readonly claim: Claim;
  readonly ref: Pick<LeaseRef, 'executionId' | 'leaseId' | 'fencingToken'>;
  readonly durationMs: number;
  /** What is to be told with the next renewal. */
  progress: ProgressReport | undefined;
  readonly #abort = new AbortController();
  #askedMs: number;
  #lost: LeaseLostError | undefined;
  #ended = false;
  readonly #callOff: (() => void)[] = [];

  /** `askedMs`: monotonic time from before the claim was sent. */
  constructor(claim: Claim, askedMs: number) {
    this.claim = claim;
    const { leaseId = '', fencingToken = 0n, duration } = claim.lease ?? {};
    this.ref = { executionId: claim.executionId, leaseId, fencingToken };
    this.durationMs = duration ? durationMs(duration) : STANDARD_LEASE_MS;
    this.#askedMs = askedMs;
  }

  /** Aborts with one of stop-reasons.ts. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get lost(): LeaseLostError | undefined {
    return this.#lost;
  }

  /** Whether its outcome is decided. */
  get ended(): boolean {
    return this.#ended;
  }

  get trustedUntilMs(): number {
    return this.#askedMs + this.durationMs * TRUSTED_SHARE;
  }

  /** When the next renewal is due. */
  get renewalMs(): number {
    return this.#askedMs + this.durationMs * RENEWED_SHARE;
  }

  /** From now on the signal aborts when the trust window or the attempt's time ends. */
  guard(): void {
    this.#guardTrust();
    const { attemptTimeoutTime, deadlineTime } = this.claim;
    const endsMs = Math.min(
      ...[attemptTimeoutTime, deadlineTime].flatMap((time) => (time ? [this.#untilMs(time)] : [])),
    );
    if (endsMs < LONGEST_TIMER_MS) this.#callOff.push(after(endsMs, () => this.abort(new AttemptTimeoutError())));
  }

  renewed(askedMs: number, cancelRequest?: CancelRequest): void {
    this.#askedMs = Math.max(this.#askedMs, askedMs);
    if (cancelRequest) this.abort(new CancelRequestedError(cancelRequest));
  }

  /** The engine says, or must be assumed to think, that it is somebody else's now. */
  lose(reason: LeaseLostError): void {
    this.#lost ??= reason;
    this.abort(reason);
  }

  abort(reason: Error): void {
    this.#abort.abort(reason);
  }

  /** Its outcome is decided, or it was given back: no timer aborts it any more. */
  end(): void {
    this.#ended = true;
    for (const callOff of this.#callOff.splice(0)) callOff();
  }

  /** One timer, set again when it finds the window moved: renewals cost no timers. */
  #guardTrust(): void {
    const left = this.trustedUntilMs - monotonicMs();
    if (left <= 0) this.lose(new LeaseLostError('trust_ended'));
    else this.#callOff[0] = after(left, () => this.#guardTrust());
  }

  /**
   * The grant was at expire_time − duration on the database's clock; only differences on that clock are used. Counted
   * from now, which is late by the time the answer took: the engine ends the attempt itself, this only saves work.
   */
  #untilMs(time: Timestamp): number {
    const expireTime = this.claim.lease?.expireTime;
    const grantedMs = expireTime ? timestampMs(expireTime) - this.durationMs : timestampMs(time);
    return timestampMs(time) - grantedMs;
  }
}
