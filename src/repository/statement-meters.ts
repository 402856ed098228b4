/** How long each statement takes, from being asked for to its answer, and how often it failed. Kept per process. */
import { Histogram } from '../runtime/histogram.js';
import { Tally } from '../runtime/tally.js';

/** Those of OpenTelemetry for `db.client.operation.duration`, in seconds, and three more where most statements lie. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 10];

export class StatementMeter {
  /** In seconds. */
  readonly times = new Histogram(SECONDS);
  /** By class of SQLSTATE; `lost` without one: the connection, or nobody answered. */
  readonly errors = new Tally();

  constructor(readonly name: string) {}

  failed(error: unknown): void {
    const code = (error as { code?: unknown } | null)?.code;
    this.errors.add(typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code.slice(0, 2) : 'lost');
  }
}
