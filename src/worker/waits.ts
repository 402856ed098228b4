/**
 * Waits for signals, in the middle of a handler.
 *
 * Nobody keeps a handler's stack. A wait that parks ends this call of the handler, and the resumed attempt calls it again
 * from its start, in whichever process; there every wait it passed before is passed at once, with the same outcome. What
 * tells them apart is their order: the engine numbers what parked an attempt, and the n-th `suspend()` of a call is the
 * n-th that ended with signals. Waits for children and for a budget are numbered too, and are known by having none.
 *
 * An attempt that follows one that was lost, failed or was released begins anew, and asks the engine again for each wait: it
 * finds the signals that were taken then, in the same order, and answers at once. What a timeout or an operator ended is
 * waited for again.
 */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Signal } from '../../gen/tailrace/v1/signal_pb.js';
import { TailraceError } from '../client/errors.js';
import { CanceledError } from './handler-errors.js';
import type { LeaseCalls } from './lease-calls.js';
import { outcomeOfSignals, type SuspensionOutcome } from './received-signal.js';
import { CancelRequestedError, Suspended } from './stop-reasons.js';
import { type SuspendOptions, toSuspension, toWaitpointSpec, type WaitpointOptions } from './suspend-options.js';

/** A place where a signal can land. */
export interface Waitpoint {
  readonly key: string;
  /** Lets its bearer signal here. Empty once it is closed. */
  readonly token: string;
  /**
   * `open`: nobody has signaled here. `answered`: somebody has, to this attempt or an earlier one. `closed`: the attempt's
   * wait for it is over, or it has expired.
   */
  readonly state: 'open' | 'answered' | 'closed';
  /** When it closes by itself, on the database's clock. */
  readonly expires: Date | undefined;
}

const PAGE = 1_000;

export class Waits {
  readonly #calls: LeaseCalls;
  /** Stores what was emitted: nothing that came before a wait is lost in it. */
  readonly #flush: () => Promise<void>;
  /** Waits that this call of the handler has asked for. */
  #asked = 0;
  /** Number of the last recorded wait that it has passed. */
  #passed = 0;
  #pending: Promise<unknown> | undefined;

  constructor(calls: LeaseCalls, flush: () => Promise<void>) {
    this.#calls = calls;
    this.#flush = flush;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await this.#pending?.catch(() => {});
  }

  suspend(options: SuspendOptions): Promise<SuspensionOutcome> {
    if (this.#pending) return Promise.reject(new Error('a handler waits for one thing at a time: await suspend()'));
    const pending = this.#suspend(options).finally(() => {
      this.#pending = undefined;
    });
    // Of one that nobody awaits it is the end of the handler that matters, not an unhandled rejection.
    pending.catch(() => {});
    this.#pending = pending;
    return pending;
  }

  async waitpoint(key: string, options: WaitpointOptions): Promise<Waitpoint> {
    const spec = toWaitpointSpec({ key, ...options });
    try {
      const { waitpoint } = await this.#calls.send((engine, under, bounds) =>
        engine.createWaitpoint({ ...under, waitpoint: spec }, bounds),
      );
      const { token = '', signalCount = 0, expireTime } = waitpoint ?? {};
      const state = signalCount === 0 ? 'open' : 'answered';
      return { key, token, state, expires: expireTime && timestampDate(expireTime) };
    } catch (error) {
      if (!(error instanceof TailraceError && error.reason === 'WRONG_STATE')) throw error;
      return { key, token: '', state: 'closed', expires: undefined };
    }
  }

  async #suspend(options: SuspendOptions): Promise<SuspensionOutcome> {
    const place = ++this.#asked;
    const asked = toSuspension(options);
    const recorded = await this.#recorded();
    if (recorded) return recorded;
    await this.#flush();
    try {
      const answer = await this.#calls.send((engine, under, bounds) =>
        engine.suspendExecution({ ...under, ...asked, idempotencyKey: `suspend ${place}` }, bounds),
      );
      const { suspended, signals, moreSignals, suspensionNumber } = answer;
      if (suspended) throw this.#calls.giveUp(new Suspended());
      const all = moreSignals ? await this.#matched(suspensionNumber) : signals;
      this.#passed = suspensionNumber;
      return outcomeOfSignals(all);
    } catch (error) {
      throw this.#canceled(error);
    }
  }

  /** How the next of the waits ended that this attempt has behind it; undefined if there is none. */
  async #recorded(): Promise<SuspensionOutcome | undefined> {
    const { resume } = this.#calls.lease.claim;
    for (let number = this.#passed + 1; number <= (resume?.suspensionNumber ?? 0); number++) {
      const told = number === resume?.suspensionNumber && !resume.moreSignals;
      const signals = told ? resume.signals : await this.#matched(number);
      this.#passed = number;
      if (signals.length > 0) return outcomeOfSignals(signals);
    }
    return undefined;
  }

  async #matched(suspensionNumber: number): Promise<Signal[]> {
    const all: Signal[] = [];
    for (let pageToken = ''; ; ) {
      const page = { suspensionNumber, pageSize: PAGE, pageToken };
      const { signals, nextPageToken } = await this.#calls.send((engine, under, bounds) =>
        engine.listMatchedSignals({ ...under, ...page }, bounds),
      );
      all.push(...signals);
      if (nextPageToken === '') return all;
      pageToken = nextPageToken;
    }
  }

  /** An execution that is to be canceled does not wait: its handler ends as it would by its signal. */
  #canceled(error: unknown): unknown {
    if (!(error instanceof TailraceError) || error.reason !== 'WRONG_STATE') return error;
    if (error.metadata['waitpoint_key'] !== undefined) return error;
    const { reason } = this.#calls.lease.signal;
    return reason instanceof CancelRequestedError ? reason : new CanceledError(error.message, { cause: error });
  }
}
