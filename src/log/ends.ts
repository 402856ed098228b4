/**
 * Waiting for executions to end. Any number of waiters share the tail: none asks the database again and again.
 *
 * The order makes an end impossible to miss: first the waiter stands at the tail, whose position is no higher than the
 * log's head, then it reads what has ended already. An end that this read does not see commits later, is numbered later
 * still, and comes by.
 */
import { monotonicMs } from '../runtime/clock.js';
import { WakeSignal } from '../runtime/wake-signal.js';
import type { LogRecord } from './record.js';
import type { KnownExecution, LogSource, Page } from './source.js';
import type { Tail, TailListener } from './tail.js';
import { type TailWaiter, TailWaiters } from './tail-waiters.js';

export interface EndsWanted {
  /** An execution of another one counts as missing. */
  readonly namespace: number;
  readonly ids: readonly string[];
  /** True: until the first has ended, not all. */
  readonly any: boolean;
  readonly timeoutMs: number;
}

interface Waiter extends TailWaiter {
  readonly ended: Map<string, KnownExecution>;
}

export class EndWaiters implements TailListener {
  readonly #source: LogSource;
  readonly #waiters: TailWaiters<Waiter>;

  constructor(source: LogSource, tail: Tail) {
    this.#source = source;
    this.#waiters = new TailWaiters(source, tail, this);
  }

  /**
   * What is known of these executions as soon as enough have ended, the time is over, the signal aborts, or one of them
   * turns out not to exist (it is missing then).
   */
  async wait(wanted: EndsWanted, signal: AbortSignal): Promise<ReadonlyMap<string, KnownExecution>> {
    if (wanted.timeoutMs <= 0) return await this.#known(wanted);
    const until = monotonicMs() + wanted.timeoutMs;
    const waiter: Waiter = { signal: new WakeSignal(), ended: new Map() };
    await this.#waiters.stand(wanted.ids, waiter);
    try {
      const known = await this.#known(wanted);
      const now = () => new Map([...known, ...waiter.ended]);
      if (known.size < wanted.ids.length) return known;
      while (!enough(now(), wanted)) {
        const leftMs = until - monotonicMs();
        if (leftMs <= 0 || signal.aborted) break;
        if (waiter.failure) throw waiter.failure;
        await waiter.signal.wait(leftMs, signal);
      }
      return now();
    } finally {
      this.#waiters.leave(wanted.ids, waiter);
    }
  }

  wants(record: LogRecord): boolean {
    return record.terminal && this.#waiters.has(record.entry.execution);
  }

  take(page: Page): void {
    for (const { entry, detail, terminal } of page) {
      if (!terminal || !detail) continue;
      for (const waiter of this.#waiters.of(entry.execution)) {
        waiter.ended.set(detail.id, detail);
        waiter.signal.wake();
      }
    }
  }

  fail(error: unknown): void {
    this.#waiters.fail(error);
  }

  async #known({ ids, namespace }: EndsWanted): Promise<ReadonlyMap<string, KnownExecution>> {
    const found = await this.#source.executions(ids);
    return new Map(
      ids.flatMap((id) => {
        const execution = found.get(id);
        return execution?.namespace === namespace ? [[id, execution] as const] : [];
      }),
    );
  }
}

function enough(known: ReadonlyMap<string, KnownExecution>, { ids, any }: EndsWanted): boolean {
  const ended = (id: string) => known.get(id)?.outcome !== undefined;
  return any ? ids.some(ended) : ids.every(ended);
}
