/**
 * Waiting for flows to settle or end. Any number of waiters share the tail, and what those of an instant ask is read
 * together.
 *
 * The order makes it impossible to miss: first the waiter stands at the tail, whose position is no higher than the log's
 * head, then it reads where the flow stands. What this read does not see commits later, is numbered later still, and
 * comes by. An entry only makes the waiter look again: the answer is what the flow's own row says, so that nobody is
 * told of a flow that went on meanwhile.
 */
import { EngineError } from '../domain/errors.js';
import { isFlowEnd } from '../domain/states.js';
import type { FlowStanding } from '../repository/log/index.js';
import { monotonicMs } from '../runtime/clock.js';
import { WakeSignal } from '../runtime/wake-signal.js';
import type { LogSource, Page } from './source.js';
import type { Tail, TailListener } from './tail.js';
import { type TailWaiter, TailWaiters } from './tail-waiters.js';

/** settled: nothing of it is live, though it may be open for more. */
export type FlowMilestone = 'settled' | 'ended';

export interface FlowWanted {
  /** A flow of another one does not exist. */
  readonly namespace: number;
  readonly flow: string;
  readonly until: FlowMilestone;
  readonly timeoutMs: number;
}

export interface AwaitedFlow {
  /** FlowState. */
  readonly state: number;
  readonly settled: boolean;
  /** False if the timeout passed, or the signal aborted, first. */
  readonly reached: boolean;
  /** The log's, for cursors. */
  readonly incarnation: string;
}

export class FlowWaiters implements TailListener {
  readonly #source: LogSource;
  readonly #waiters: TailWaiters<TailWaiter>;

  constructor(source: LogSource, tail: Tail) {
    this.#source = source;
    this.#waiters = new TailWaiters(source, tail, this);
  }

  /** Throws FLOW_NOT_FOUND. */
  async wait(wanted: FlowWanted, signal: AbortSignal): Promise<AwaitedFlow> {
    if (wanted.timeoutMs <= 0) return awaited(await this.read(wanted), wanted);
    const until = monotonicMs() + wanted.timeoutMs;
    const waiter: TailWaiter = { signal: new WakeSignal() };
    await this.#waiters.stand([wanted.flow], waiter);
    try {
      for (;;) {
        waiter.signal.clear();
        const answer = awaited(await this.read(wanted), wanted);
        const leftMs = until - monotonicMs();
        if (answer.reached || leftMs <= 0 || signal.aborted) return answer;
        if (waiter.failure) throw waiter.failure;
        await waiter.signal.wait(leftMs, signal);
      }
    } finally {
      this.#waiters.leave([wanted.flow], waiter);
    }
  }

  /** Where it stands. Throws FLOW_NOT_FOUND. */
  async read({ namespace, flow }: Pick<FlowWanted, 'namespace' | 'flow'>): Promise<FlowStanding> {
    const standing = (await this.#source.flows([flow])).get(flow);
    if (standing?.namespace === namespace) return standing;
    throw new EngineError('FLOW_NOT_FOUND', `there is no flow ${flow}`, { metadata: { flow_id: flow } });
  }

  wants(): boolean {
    return false;
  }

  take(page: Page): void {
    for (const { entry, milestone } of page) {
      if (!milestone) continue;
      for (const { signal } of this.#waiters.of(entry.flow)) signal.wake();
    }
  }

  fail(error: unknown): void {
    this.#waiters.fail(error);
  }
}

function awaited({ state, settledAt, incarnation }: FlowStanding, { until }: FlowWanted): AwaitedFlow {
  const settled = settledAt !== null;
  return { state, settled, incarnation, reached: until === 'ended' ? isFlowEnd(state) : settled };
}
