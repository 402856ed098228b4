/**
 * Sends reports of one kind in batches, and again while refusals are passing ones and the lease can be believed in.
 *
 * Reports gather while the calls of the line are under way, so batches grow with the load and a single report goes out at once.
 * A call refused for its content is halved until the culprit is alone; the others do not suffer from it. What is still
 * unsaid when the trust window ends is dropped: the engine takes the execution back. Nothing is ever unsent: a report
 * is tried at least once, for the engine's fence decides, not this clock.
 */
import { Backoff } from '../client/backoff.js';
import { asTailraceError, type TailraceError } from '../client/errors.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import type { HeldLease } from './held-lease.js';

export interface Report<T> {
  readonly lease: HeldLease;
  readonly content: T;
  readonly bytes: number;
}

export interface ReportLineOptions<T> {
  /** Most reports in one call. */
  readonly items: number;
  /** Most calls under way. */
  readonly calls: number;
  /** Answers one entry per report: undefined if it was recorded. Throws if the whole call failed. */
  readonly send: (reports: readonly Report<T>[]) => Promise<(TailraceError | undefined)[]>;
  /** Called once per report, with what finally refused it. */
  readonly settled: (report: Report<T>, refusal: TailraceError | undefined) => void;
}

const BATCH_BYTES = 4 * 2 ** 20;
const DECIDED = ['LEASE_LOST', 'EXECUTION_TERMINAL', 'EXECUTION_NOT_FOUND', 'WRONG_STATE'];
/**
 * What is said of children or events that cannot be made; WRONG_STATE: it, or its flow, is to be canceled. The lease is still
 * held.
 */
export const MORE_REFUSED = [
  'LANE_CLOSED',
  'FLOW_LIMIT_EXCEEDED',
  'JOIN_LIMIT_EXCEEDED',
  'UNIMPLEMENTED',
  'STREAM_VERSION_CONFLICT',
  'WRONG_STATE',
];
const FINAL = [...DECIDED, ...MORE_REFUSED];

export class ReportLine<T> {
  readonly #options: ReportLineOptions<T>;
  readonly #backoff = new Backoff(50, 1_000);
  #queue: Report<T>[] = [];
  #calls = 0;
  #scheduled = false;

  constructor(options: ReportLineOptions<T>) {
    this.#options = options;
  }

  add(report: Report<T>): void {
    this.#queue.push(report);
    this.#schedule();
  }

  /** At the end of this turn of the event loop: whatever else ends in it goes along. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      while (this.#calls < this.#options.calls && this.#queue.length > 0) void this.#call(this.#take());
    });
  }

  /** The oldest, within the bounds of a call, and each execution once as the engine demands. */
  #take(): Report<T>[] {
    const batch: Report<T>[] = [];
    const left: Report<T>[] = [];
    const executions = new Set<string>();
    let bytes = 0;
    for (const report of this.#queue) {
      const { executionId } = report.lease.ref;
      const fits = batch.length === 0 || (batch.length < this.#options.items && bytes + report.bytes <= BATCH_BYTES);
      if (!fits || executions.has(executionId)) {
        left.push(report);
        continue;
      }
      executions.add(executionId);
      bytes += report.bytes;
      batch.push(report);
    }
    this.#queue = left;
    return batch;
  }

  async #call(batch: readonly Report<T>[]): Promise<void> {
    this.#calls++;
    const again = await this.#send(batch);
    // The line waits with them: the server is in trouble.
    if (again.length > 0) await pause(again[0]?.pauseMs ?? 0);
    for (const { report, error } of again) {
      if (monotonicMs() < report.lease.trustedUntilMs) this.#queue.unshift(report);
      else this.#options.settled(report, error);
    }
    this.#calls--;
    if (this.#queue.length > 0) this.#schedule();
  }

  /** Answers what to send again. */
  async #send(batch: readonly Report<T>[]): Promise<Again<T>[]> {
    let answers: (TailraceError | undefined)[];
    try {
      answers = await this.#options.send(batch);
    } catch (thrown) {
      const error = asTailraceError(thrown);
      if (error.refusesContent && batch.length > 1) {
        const half = Math.ceil(batch.length / 2);
        return [...(await this.#send(batch.slice(0, half))), ...(await this.#send(batch.slice(half)))];
      }
      answers = batch.map(() => error);
    }
    const refused = batch.flatMap((report, index) => {
      const error = answers[index];
      const final = !error || error.refusesContent || FINAL.includes(error.reason ?? '');
      if (final) this.#options.settled(report, error);
      return final ? [] : [{ report, error }];
    });
    if (refused.length === 0) this.#backoff.reset();
    const pauseMs = refused[0] ? this.#backoff.next(refused[0].error) : 0;
    return refused.map((each) => ({ ...each, pauseMs }));
  }
}

interface Again<T> {
  readonly report: Report<T>;
  readonly error: TailraceError;
  readonly pauseMs: number;
}
