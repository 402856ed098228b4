/**
 * Tells the engine how attempts ended: completions and failures in batches, delays one by one.
 *
 * `settled` is called once per lease, when the engine has recorded the outcome or will not take it any more. A result
 * refused for its content is reported as a failure INVALID_RESULT at once instead of being sent until its lease ends.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { CompletionSchema, FailureReportSchema } from '../../gen/tailrace/v1/engine_service_pb.js';
import type { ItemError } from '../../gen/tailrace/v1/error_pb.js';
import { lengthOf } from '../client/content.js';
import { fromItemError, type TailraceError } from '../client/errors.js';
import type { EngineClient } from './engine-client.js';
import type { HeldLease } from './held-lease.js';
import { bare, type FailedOutcome, type Outcome, outcomeOfRefusal } from './outcome.js';
import { type Report, ReportLine } from './report-line.js';

type Completed = Extract<Outcome, { kind: 'completed' }>;
type Delayed = Extract<Outcome, { kind: 'delayed' }>;

/** A call that hangs is given up and repeated, which is safe: the same lease and content answer the first answer. */
const CALL = { timeoutMs: 10_000 };

export interface ReporterOptions {
  readonly engine: Pick<EngineClient, 'completeExecutions' | 'failExecutions' | 'delayExecution'>;
  readonly namespace: string;
  /** The refusal is undefined if it was recorded. */
  readonly settled: (lease: HeldLease, refusal: TailraceError | undefined) => void;
}

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #completions: ReportLine<Completed>;
  readonly #failures: ReportLine<FailedOutcome>;
  readonly #delays: ReportLine<Delayed>;

  constructor(options: ReporterOptions) {
    this.#options = options;
    const settled = (report: Report<Outcome>, refusal?: TailraceError) => this.#settled(report, refusal);
    this.#completions = new ReportLine<Completed>({ items: 500, send: (reports) => this.#complete(reports), settled });
    this.#failures = new ReportLine<FailedOutcome>({ items: 500, send: (reports) => this.#fail(reports), settled });
    this.#delays = new ReportLine<Delayed>({ items: 1, send: (reports) => this.#delay(reports), settled });
  }

  report(lease: HeldLease, outcome: Outcome): void {
    if (outcome.kind === 'completed') {
      this.#completions.add({ lease, content: outcome, bytes: lengthOf(outcome.result) });
    } else if (outcome.kind === 'delayed') {
      this.#delays.add({ lease, content: outcome, bytes: 0 });
    } else {
      this.#failures.add({ lease, content: outcome, bytes: lengthOf(outcome.failure.details) });
    }
  }

  #settled({ lease, content }: Report<Outcome>, refusal: TailraceError | undefined): void {
    const again = refusal?.refusesContent ? instead(content, refusal) : undefined;
    if (again) this.report(lease, again);
    else this.#options.settled(lease, refusal);
  }

  async #complete(reports: readonly Report<Completed>[]) {
    const completions = reports.map(({ lease, content }): MessageInitShape<typeof CompletionSchema> => {
      return { lease: lease.ref, ...(content.result && { result: content.result }) };
    });
    const { namespace, engine } = this.#options;
    const { results } = await engine.completeExecutions({ namespace, completions }, CALL);
    return results.map(refusalOf);
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
}

/** What to report in place of something refused for its content; undefined if there is nothing smaller. */
function instead(refused: Outcome, refusal: TailraceError): Outcome | undefined {
  if (refused.kind !== 'failed') return outcomeOfRefusal(refusal);
  return refused.failure.details ? bare(refused) : undefined;
}

function refusalOf({ result }: { result: { case: string | undefined; value?: unknown } }): TailraceError | undefined {
  return result.case === 'error' ? fromItemError(result.value as ItemError) : undefined;
}
