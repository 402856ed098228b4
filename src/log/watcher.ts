/**
 * One reader that sees every selected record after its start, once and in order.
 *
 * A watcher that is behind the tail reads pages by itself, as fast as its consumer takes them: nothing is buffered and
 * nobody else is delayed. Where it meets the tail it joins it, in one synchronous step, and from then on gets the tail's
 * pages into a bounded buffer. Both halves are one rule: records up to `#seen` are never taken again, so there is neither
 * gap nor double at the seam.
 *
 * A full buffer may be a burst or a consumer that is too slow. So the watcher leaves the tail and reads by itself again;
 * if it has not met the tail within the grace, it is cut with STREAM_TOO_SLOW.
 *
 * Every way in which a watch ends carries the cursor to go on from.
 */
import { ALL_NAMESPACES, type CursorScope, cursorAt } from '../domain/cursor.js';
import { EngineError } from '../domain/errors.js';
import { BoundedQueue, type QueueBounds } from '../runtime/bounded-queue.js';
import { after, monotonicMs } from '../runtime/clock.js';
import type { RecordFilter } from './filter.js';
import { type LogFloors, prunedAt, prunedPosition } from './floors.js';
import type { LogRecord } from './record.js';
import type { LogSource, Page } from './source.js';
import type { Tail, TailListener } from './tail.js';

/** Either records, or (none) the word that everything up to the cursor was delivered. */
export class WatchMessage {
  readonly #scope: Pick<CursorScope, 'namespace' | 'incarnation'>;

  constructor(
    readonly records: readonly LogRecord[],
    scope: Pick<CursorScope, 'namespace' | 'incarnation'>,
    /** Everything selected up to this position was delivered. */
    readonly upTo: bigint,
  ) {
    this.#scope = scope;
  }

  /** Goes on behind this message. */
  get cursor(): string {
    return cursorAt(this.#scope, this.upTo);
  }

  /** Goes on behind one of its records. */
  cursorOf({ entry }: LogRecord): string {
    return cursorAt(this.#scope, entry.position);
  }
}

export interface WatcherOptions {
  readonly source: LogSource;
  readonly floors: LogFloors;
  readonly tail: Tail;
  readonly filter: RecordFilter;
  readonly scope: Pick<CursorScope, 'namespace' | 'incarnation'>;
  /** The position behind which to begin. */
  readonly start: bigint;
  readonly buffer: QueueBounds;
  /** How much one message may hold. */
  readonly message: QueueBounds;
  readonly heartbeatMs: number;
  /** How long a watcher whose buffer ran full may take to meet the tail again. */
  readonly graceMs: number;
  /** Called when it did not. */
  readonly onCut: () => void;
}

export class Watcher implements TailListener {
  readonly #options: WatcherOptions;
  readonly #buffer: BoundedQueue<LogRecord>;
  /** Everything up to here was looked at; what it selected was handed out or stands in the buffer. */
  #seen: bigint;
  /** Everything selected up to here was handed out. */
  #given: bigint;
  /** Set while the watcher has lost the tail to a full buffer; calls the cut off. */
  #spare: (() => void) | undefined;
  #ended: unknown;
  #joined = false;

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#buffer = new BoundedQueue(options.buffer);
    this.#seen = options.start;
    this.#given = options.start;
  }

  /** The first message is empty and names the start. Ends when the signal aborts; throws when the watch is ended. */
  async *messages(signal: AbortSignal): AsyncGenerator<WatchMessage, void> {
    try {
      yield this.#message([]);
      while (!signal.aborted) {
        yield* this.#catchUp(signal);
        yield* this.#follow(signal);
      }
    } catch (error) {
      throw this.#withCursor(error);
    } finally {
      this.#spare?.();
      this.#options.tail.leave(this);
    }
  }

  /** Whether it reads by itself, because it has not met the tail yet or left it with a full buffer. */
  get behind(): boolean {
    return !this.#joined;
  }

  wants(record: LogRecord): boolean {
    return record.entry.position > this.#seen && this.#options.filter.admits(record);
  }

  take(page: Page): void {
    for (const record of page) {
      if (this.#isNew(record) && !this.#buffer.push(record, record.bytes)) {
        this.#lag();
        return;
      }
      this.#seen = max(this.#seen, record.entry.position);
    }
  }

  fail(error: unknown): void {
    this.end(error);
  }

  /** Ends the watch with an error, which reaches the consumer at its next step; what is buffered is dropped. */
  end(error: unknown): void {
    this.#ended ??= error;
    this.#buffer.clear();
    this.#buffer.wake();
    this.#options.tail.leave(this);
  }

  async *#catchUp(signal: AbortSignal): AsyncGenerator<WatchMessage, void> {
    const { source, tail, floors, scope, heartbeatMs } = this.#options;
    let spoke = monotonicMs();
    while (!signal.aborted) {
      this.#throwIfEnded();
      if (tail.position !== undefined && this.#seen >= tail.position) return this.#join();
      this.#refuseBelow(await floors.of(scope.namespace));
      const page = tail.recent(this.#seen + 1n) ?? (await source.page(this.#seen + 1n));
      if (this.#isGap(page)) this.#refuseBelow(await floors.now(scope.namespace));
      if (page) {
        await source.detail(page.filter((record) => this.wants(record)));
        for (const records of this.#portions(page.filter((record) => this.#isNew(record)))) {
          yield this.#message(records, records.at(-1)?.entry.position);
          spoke = monotonicMs();
        }
        this.#seen = max(this.#seen, page[page.length - 1]?.entry.position ?? 0n);
      }
      if (tail.position === undefined && (page?.length ?? 0) < source.pageEntries) return this.#join();
      if (monotonicMs() - spoke < heartbeatMs) continue;
      yield this.#message([], this.#seen);
      spoke = monotonicMs();
    }
  }

  /** Ends when the buffer ran full and its consumer has emptied it. */
  async *#follow(signal: AbortSignal): AsyncGenerator<WatchMessage, void> {
    const { heartbeatMs, message } = this.#options;
    while (!signal.aborted) {
      this.#throwIfEnded();
      if (this.#spare && this.#buffer.size === 0) return;
      await this.#buffer.wait(heartbeatMs, signal);
      this.#throwIfEnded();
      if (signal.aborted) return;
      const records = this.#buffer.take(message);
      yield this.#message(records, this.#buffer.size === 0 ? this.#seen : records.at(-1)?.entry.position);
    }
  }

  #join(): void {
    this.#throwIfEnded();
    this.#spare?.();
    this.#spare = undefined;
    this.#options.tail.join(this, this.#seen);
    this.#joined = true;
  }

  #lag(): void {
    const { graceMs, onCut, tail } = this.#options;
    tail.leave(this);
    this.#joined = false;
    this.#spare ??= after(graceMs, () => {
      this.end(new EngineError('STREAM_TOO_SLOW', 'the watcher does not keep up; go on from the cursor'));
      onCut();
    });
  }

  /** What comes next must be there, unless it is gone. */
  #isGap(page: Page | undefined): boolean {
    const end = this.#options.tail.position;
    return page ? page[0].entry.position > this.#seen + 1n : end !== undefined && end > this.#seen;
  }

  #refuseBelow(floor: bigint): void {
    if (this.#seen < floor) throw prunedAt(floor);
  }

  #isNew(record: LogRecord): boolean {
    const { filter, scope, floors } = this.#options;
    if (record.entry.position <= this.#seen || !filter.selects(record)) return false;
    // Namespaces keep their log for different times; those of one are refused as a whole.
    return scope.namespace !== ALL_NAMESPACES || !floors.hides(record.entry);
  }

  *#portions(records: readonly LogRecord[]): Generator<LogRecord[]> {
    const queue = new BoundedQueue<LogRecord>({ items: records.length, bytes: Number.MAX_SAFE_INTEGER });
    for (const record of records) queue.push(record, record.bytes);
    while (queue.size > 0) yield queue.take(this.#options.message);
  }

  #message(records: readonly LogRecord[], upTo = this.#given): WatchMessage {
    this.#given = upTo;
    return new WatchMessage(records, this.#options.scope, upTo);
  }

  #throwIfEnded(): void {
    if (this.#ended) throw this.#ended;
  }

  #withCursor(error: unknown): unknown {
    if (!(error instanceof EngineError)) return error;
    const { message, retryDelayMs, violations, metadata } = error;
    const { scope } = this.#options;
    const earliest = prunedPosition(error);
    return new EngineError(error.reason, message, {
      metadata: {
        ...metadata,
        cursor: cursorAt(scope, this.#given),
        ...(earliest !== undefined && { earliest_cursor: cursorAt(scope, earliest) }),
      },
      violations,
      cause: error,
      ...(retryDelayMs !== undefined && { retryDelayMs }),
    });
  }
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
