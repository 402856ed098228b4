/**
 * The calls that a handler makes while it runs: all under its lease, all safe to repeat.
 *
 * A call is repeated while its refusals are passing ones and the lease can be believed in, and tried once at least: the
 * engine's fence decides, not this clock. That the lease is lost, or that cancellation was asked for, goes to the lease,
 * which aborts the handler.
 */
import type { CancelRequest } from '../../gen/tailrace/v1/cancel_pb.js';
import { Backoff } from '../client/backoff.js';
import { asTailraceError, type TailraceError } from '../client/errors.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import type { EngineClient } from './engine-client.js';
import type { HeldLease } from './held-lease.js';
import { CancelRequestedError, LeaseLostError } from './stop-reasons.js';

/** What the engine says to somebody who does not hold the lease. */
export const LOST = ['LEASE_LOST', 'EXECUTION_TERMINAL', 'EXECUTION_NOT_FOUND'];
const CALL_MS = 10_000;

export type HandlerCalls = Pick<
  EngineClient,
  'createWaitpoint' | 'suspendExecution' | 'listMatchedSignals' | 'appendFrames' | 'reportUsage' | 'releaseUsage'
>;

/** What every such request begins with. */
export interface UnderLease {
  readonly namespace: string;
  readonly lease: HeldLease['ref'];
}

export interface LeaseCallsOptions {
  readonly engine: HandlerCalls;
  readonly namespace: string;
  readonly lease: HeldLease;
  /** The lease was given up by the engine's answer: nobody renews it any more. */
  readonly onGone: () => void;
}

export class LeaseCalls {
  readonly lease: HeldLease;
  readonly #options: LeaseCallsOptions;

  constructor(options: LeaseCallsOptions) {
    this.lease = options.lease;
    this.#options = options;
  }

  /** Throws the LeaseLostError that the handler's signal aborts with, or the TailraceError of any other refusal. */
  async send<T>(
    call: (engine: HandlerCalls, under: UnderLease, bounds: { readonly timeoutMs: number }) => Promise<T>,
  ): Promise<T> {
    const { engine, namespace } = this.#options;
    const { lease } = this;
    const timeoutMs = Math.ceil(Math.min(CALL_MS, lease.durationMs / 3));
    const backoff = new Backoff(50, 1_000);
    for (;;) {
      if (lease.ended) throw lease.signal.reason ?? new Error('the handler has ended');
      if (lease.lost && lease.lost.why !== 'trust_ended') throw lease.lost;
      try {
        return await call(engine, { namespace, lease: lease.ref }, { timeoutMs });
      } catch (thrown) {
        const error = asTailraceError(thrown);
        if (LOST.includes(error.reason ?? '')) throw this.#lost(error);
        const pauseMs = backoff.next(error);
        if (!error.passing || monotonicMs() + pauseMs >= lease.trustedUntilMs) throw error;
        await pause(pauseMs);
      }
    }
  }

  /** What an answer says besides. */
  heed(cancelRequest: CancelRequest | undefined): void {
    if (cancelRequest) this.lease.abort(new CancelRequestedError(cancelRequest));
  }

  /** The engine has taken the lease back and decided what becomes of the execution: the handler is stopped for that. */
  giveUp<E extends Error>(reason: E): E {
    this.#options.onGone();
    this.lease.abort(reason);
    return reason;
  }

  #lost(error: TailraceError): Error {
    const { lease } = this;
    if (lease.ended) return lease.signal.reason ?? error;
    lease.lose(new LeaseLostError(error.metadata['why'] ?? error.reason ?? '', { cause: error }));
    return lease.lost ?? error;
  }
}
