/**
 * Tells the engine how handlers ended: completions and failures in batches, delays and waits for children one by one.
 *
 * `settled` is called once per lease, when the engine has recorded the outcome or will not take it any more. A result
 * refused for its content is reported as a failure INVALID_RESULT at once instead of being sent until its lease ends;
 * so, with a class that fits, is one whose children or events cannot be made.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { CompletionSchema, FailureReportSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ItemError } from '../../gen/tailrace/v1/error_pb.js';
import type { Payload } from '../../gen/tailrace/v1/payload_pb.js';
import { lengthOf } from '../client/content.js';
import { fromItemError, type TailraceError } from '../client/errors.js';
import { monotonicMs } from '../runtime/clock.js';
import { lengthOfEvent } from './emissions.js';
import type { EngineClient } from './engine-client.js';
import type { HandOver } from './hand-over.js';
import type { HeldLease } from './held-lease.js';
import { bare, type CompletedOutcome, type FailedOutcome, type Outcome, outcomeOfRefusal } from './outcome.js';
import { MORE_REFUSED, type Report, ReportLine } from './report-line.js';

type Delayed = Extract<Outcome, { kind: 'delayed' }>;
type Parked = Extract<Outcome, { kind: 'parked' }>;

/** A call that hangs is given up and repeated, which is safe: the same lease and content answer the first answer. */
const CALL = { timeoutMs: 10_000 };
/** Each call says much. */
const BATCHES = { items: 500, calls: 2 };
/** Each call says one thing, so that more of them are made. */
const SINGLES = { items: 1, calls: 8 };

export interface ReporterOptions {
  readonly engine: Pick<EngineClient, 'completeExecutions' | 'failExecutions' | 'delayExecution' | 'waitForChildren'>;
  readonly namespace: string;
  /** Absent: completions claim nothing. */
  readonly handOver?: HandOver | undefined;
  /** The refusal is undefined if it was recorded. */
  readonly settled: (lease: HeldLease, refusal: TailraceError | undefined) => void;
}

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #completions: ReportLine<CompletedOutcome>;
  readonly #failures: ReportLine<FailedOutcome>;
  readonly #delays: ReportLine<Delayed>;
  readonly #waits: ReportLine<Parked>;

  constructor(options: ReporterOptions) {
    this.#options = options;
    const settled = (report: Report<Outcome>, refusal?: TailraceError) => this.#settled(report, refusal);
    this.#completions = new ReportLine<CompletedOutcome>({
      ...BATCHES,
      send: (reports) => this.#complete(reports),
      settled,
    });
    this.#failures = new ReportLine<FailedOutcome>({ ...BATCHES, send: (reports) => this.#fail(reports), settled });
    this.#delays = new ReportLine<Delayed>({ ...SINGLES, send: (reports) => this.#delay(reports), settled });
    this.#waits = new ReportLine<Parked>({ ...SINGLES, send: (reports) => this.#park(reports), settled });
  }

  report(lease: HeldLease, outcome: Outcome): void {
    if (outcome.kind === 'completed') {
      this.#options.handOver?.keep(lease);
      this.#completions.add({ lease, content: outcome, bytes: lengthOf(outcome.result) + bytesOf(outcome) });
    } else if (outcome.kind === 'parked') {
      this.#waits.add({ lease, content: outcome, bytes: outcome.wait.bytes });
    } else if (outcome.kind === 'delayed') {
      this.#delays.add({ lease, content: outcome, bytes: 0 });
    } else {
      const { failure, failureEvents = [] } = outcome;
      const bytes = failureEvents.reduce((sum, event) => sum + lengthOfEvent(event), lengthOf(failure.details));
      this.#failures.add({ lease, content: outcome, bytes });
    }
  }

  #settled({ lease, content }: Report<Outcome>, refusal: TailraceError | undefined): void {
    this.#options.handOver?.free(lease);
    const again = refusal && instead(content, refusal);
    if (again) this.report(lease, again);
    else this.#options.settled(lease, refusal);
  }

  async #complete(reports: readonly Report<CompletedOutcome>[]) {
    const completions = reports.map(({ lease, content }): MessageInitShape<typeof CompletionSchema> => {
      const { children, events, result } = content;
      return { lease: lease.ref, children: [...children], events: [...events], ...(result && { result }) };
    });
    const { namespace, engine, handOver } = this.#options;
    const leases = reports.map(({ lease }) => lease);
    const claimNext = handOver?.ask(leases);
    const askedMs = monotonicMs();
    const request = { namespace, completions, ...(claimNext && { claimNext }) };
    const answer = await engine.completeExecutions(request, CALL);
    if (claimNext) handOver?.answered(leases, answer, askedMs);
    return answer.results.map(refusalOf);
  }

  async #fail(reports: readonly Report<FailedOutcome>[]) {
    const failures = reports.map(({ lease, content }): MessageInitShape<typeof FailureReportSchema> => {
      const { kind, ...report } = content;
      return { lease: lease.ref, ...report };
    });
    const { namespace, engine } = this.#options;
    const { results } = await engine.failExecutions({ namespace, reports: failures }, CALL);
    return results.map(refusalOf);
  }

  async #delay(reports: readonly Report<Delayed>[]) {
    for (const { lease, content } of reports) {
      const { namespace, engine } = this.#options;
      const delay = durationFromMs(content.delayMs);
      await engine.delayExecution({ namespace, lease: lease.ref, delay, reason: content.reason }, CALL);
    }
    return reports.map(() => undefined);
  }

  async #park(reports: readonly Report<Parked>[]) {
    for (const { lease, content } of reports) {
      const { namespace, engine } = this.#options;
      const { children, policy } = content.wait;
      await engine.waitForChildren({ namespace, lease: lease.ref, children: [...children], policy }, CALL);
    }
    return reports.map(() => undefined);
  }
}

function bytesOf({ children, eventBytes }: CompletedOutcome): number {
  return children.reduce((sum, { input }) => sum + lengthOf(input as Payload | undefined), eventBytes);
}

/** What to report in place of something refused, while the lease is still held; undefined if there is nothing smaller. */
function instead(refused: Outcome, refusal: TailraceError): Outcome | undefined {
  if (asksForMore(refused) && MORE_REFUSED.includes(refusal.reason ?? '')) return outcomeOfRefusal(refusal);
  if (!refusal.refusesContent) return undefined;
  if (refused.kind !== 'failed') return outcomeOfRefusal(refusal);
  return refused.failure.details || refused.failureEvents ? bare(refused) : undefined;
}

function asksForMore(outcome: Outcome): boolean {
  if (outcome.kind === 'completed') return outcome.children.length > 0 || outcome.events.length > 0;
  return outcome.kind === 'parked';
}

function refusalOf({ result }: { result: { case: string | undefined; value?: unknown } }): TailraceError | undefined {
  return result.case === 'error' ? fromItemError(result.value as ItemError) : undefined;
}
