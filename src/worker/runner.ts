/**
 * Runs handlers and decides what becomes of their ends: reported, given back, or dropped because the execution is
 * somebody else's by now.
 */
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import type { Content } from '../client/content.js';
import type { EventSchemas } from '../client/event-schemas.js';
import { AttemptSpan, type RunEnd } from './attempt-span.js';
import { Children } from './children.js';
import { type Handler, HandlerContext } from './context.js';
import { Emissions } from './emissions.js';
import { Frames } from './frames.js';
import type { HeldLease } from './held-lease.js';
import type { Source } from './joined-inputs.js';
import { type HandlerCalls, LeaseCalls } from './lease-calls.js';
import type { LeaseKeeper } from './lease-keeper.js';
import type { WorkerLog } from './log.js';
import { type Outcome, outcomeOfResult, outcomeOfThrown, withFailureEvents } from './outcome.js';
import type { Reporter } from './reporter.js';
import { WorkerStoppingError } from './stop-reasons.js';
import { Usage } from './usage.js';
import { Waits } from './waits.js';

export interface RunnerOptions<E extends EventSchemas> {
  readonly handlers: ReadonlyMap<string, Handler<E>>;
  readonly engine: HandlerCalls;
  readonly namespace: string;
  /** Of the worker, for people. */
  readonly name: string;
  readonly keeper: LeaseKeeper;
  readonly reporter: Reporter;
  /** Reads what a joined input left out. */
  readonly read: (of: Source, signal: AbortSignal) => Promise<Content>;
  /** Schemas of what handlers emit. Undefined: anything goes. */
  readonly events: E | undefined;
  readonly log: WorkerLog;
  /** A handler has ended. */
  readonly onEnd: () => void;
}

export class Runner<E extends EventSchemas> {
  readonly #options: RunnerOptions<E>;
  readonly #running = new Set<HeldLease>();
  readonly #unfinished = new Set<HeldLease>();

  constructor(options: RunnerOptions<E>) {
    this.#options = options;
  }

  get running(): number {
    return this.#running.size;
  }

  /** What has to be given back: handlers still running, and those that stopped because the worker stops. */
  get unfinished(): readonly HeldLease[] {
    return [...this.#running, ...this.#unfinished].filter((lease) => !lease.lost && !lease.ended);
  }

  abortAll(reason: Error): void {
    for (const lease of this.#running) lease.abort(reason);
  }

  /** Resolves when the handler has ended. Never rejects. */
  async run(lease: HeldLease): Promise<void> {
    const { keeper, reporter, log, onEnd } = this.#options;
    const { executionId, type, lane, attemptNumber } = lease.claim;
    const span = new AttemptSpan(lease.claim, this.#options.name);
    const facts = { executionId, type, lane, attemptNumber, ...span.ids };
    const said: WorkerLog = (level, message, fields) => log(level, message, { ...facts, ...fields });
    this.#running.add(lease);
    keeper.add(lease);
    const outcome = await this.#outcome(lease, said, span);
    this.#running.delete(lease);
    span.end(howItEnded(lease, outcome));
    if (isDropped(lease, outcome)) {
      if (!lease.ended) said('warn', 'the outcome was dropped', { error: lease.lost });
      keeper.remove(lease);
    } else if (outcome.kind === 'failed' && lease.signal.reason instanceof WorkerStoppingError) {
      this.#unfinished.add(lease);
    } else {
      reporter.report(lease, outcome);
    }
    onEnd();
  }

  async #outcome(lease: HeldLease, log: WorkerLog, span: AttemptSpan): Promise<Outcome> {
    const { engine, namespace, keeper } = this.#options;
    const calls = new LeaseCalls({ engine, namespace, lease, onGone: () => keeper.remove(lease) });
    const frames = new Frames(calls);
    const waits = new Waits(calls, () => frames.flush());
    const emissions = new Emissions(this.#options.events, span.headers);
    const outcome = await this.#handled(lease, log, { calls, frames, waits, emissions, span });
    await waits.idle();
    try {
      // What was put out belongs to the attempt that is about to end.
      if (!lease.ended) await frames.close();
    } catch (thrown) {
      const offered = outcome.kind === 'completed' || outcome.kind === 'parked';
      return withFailureEvents(offered ? failed(thrown, lease, log) : outcome, emissions);
    }
    return withFailureEvents(outcome, emissions);
  }

  async #handled(
    lease: HeldLease,
    log: WorkerLog,
    { calls, frames, waits, emissions, span }: Speaking,
  ): Promise<Outcome> {
    const { handlers, keeper, read, events } = this.#options;
    try {
      const handler = handlers.get(lease.claim.type);
      if (!handler) throw new Error(`this worker has no handler for ${lease.claim.type}`);
      const children = new Children(events, span.headers);
      const usage = new Usage(calls, () => frames.flush());
      const context = new HandlerContext<E>(lease, {
        tell: () => keeper.renewSoon(),
        log,
        children,
        emissions,
        waits,
        frames,
        usage,
        read: (of) => read(of, lease.signal),
      });
      const outcome = outcomeOfResult(await span.run(() => handler(context)), children, emissions);
      if (outcome.kind === 'failed') log('warn', `the result cannot be sent: ${outcome.failure.message ?? ''}`, {});
      return outcome;
    } catch (thrown) {
      const outcome = failed(thrown, lease, log);
      if (outcome.kind === 'failed' && !lease.ended) span.threw(thrown);
      return outcome;
    }
  }
}

interface Speaking {
  readonly calls: LeaseCalls;
  readonly frames: Frames;
  readonly waits: Waits;
  readonly emissions: Emissions;
  readonly span: AttemptSpan;
}

function howItEnded(lease: HeldLease, outcome: Outcome): RunEnd {
  if (lease.ended) return 'suspended';
  if (isDropped(lease, outcome)) return 'lost';
  return outcome.kind === 'failed' && lease.signal.reason instanceof WorkerStoppingError ? 'released' : outcome.kind;
}

function failed(thrown: unknown, lease: HeldLease, log: WorkerLog): Outcome {
  const outcome = outcomeOfThrown(thrown, lease.signal);
  if (outcome.kind === 'failed' && !lease.signal.aborted) {
    const expected = outcome.failure.failureClass === FailureClass.RATE_LIMITED;
    log(expected ? 'info' : 'warn', 'the handler failed', { error: thrown });
  }
  return outcome;
}

/**
 * Nothing is said for a lease the engine has taken away. Where only the trust window ended, a result or a wait is still
 * offered once: nobody may have taken over, and the engine's fence decides.
 */
function isDropped({ ended, lost }: HeldLease, outcome: Outcome): boolean {
  const offered = outcome.kind === 'completed' || outcome.kind === 'parked';
  return ended || (lost !== undefined && (lost.why !== 'trust_ended' || !offered));
}
