/**
 * A watch that resumes by itself: over lost connections, restarts of the server and of its database, it goes on after
 * the last entry it handed out, so that its reader sees every entry once and in order. Cursors are exact; nothing is
 * sorted out here.
 *
 * It ends by an error only when going on would break that promise or is refused: CURSOR_PRUNED, BAD_CURSOR, and
 * whatever waiting does not cure.
 */

import type { MessageShape } from '@bufbuild/protobuf';
import type { FlowSchema } from '../../gen/tailrace/v1/flow_pb.js';
import { type HeartbeatSchema, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { monotonicMs, pause } from '../runtime/clock.js';
import { Backoff } from './backoff.js';
import { asTailraceError } from './errors.js';

export interface WatchOptions {
  /** Where to begin: at the oldest entry kept, after the newest (default), or after a cursor seen before. */
  readonly from?: 'earliest' | 'latest' | { readonly cursor: string };
  /** Ends the watch; its iteration then ends without an error. */
  readonly signal?: AbortSignal;
  /** Gets every interruption before the watch resumes. */
  readonly onInterruption?: (error: Error) => void;
}

export interface Message<E> {
  readonly entries: readonly E[];
  readonly heartbeat?: MessageShape<typeof HeartbeatSchema> | undefined;
  readonly flow?: MessageShape<typeof FlowSchema> | undefined;
}

/** The place to begin, as the requests of watches over the log spell it. */
export type Start = { cursor: string } | { start: StartPosition };

export type OpenStream<E> = (start: Start, signal: AbortSignal) => AsyncIterable<Message<E>>;

export class Watch<E extends { readonly cursor: string }> implements AsyncIterable<E> {
  readonly #open: OpenStream<E>;
  readonly #options: WatchOptions;
  readonly #abort = new AbortController();
  readonly #backoff = new Backoff(50, 2_000);
  readonly #isLast: (message: Message<E>) => boolean;
  #over = false;
  #next: Start;
  #messages: AsyncIterator<Message<E>> | undefined;
  #first: Message<E> | undefined;

  private constructor(open: OpenStream<E>, options: WatchOptions, isLast: (message: Message<E>) => boolean) {
    this.#open = open;
    this.#options = options;
    this.#isLast = isLast;
    const { from = 'latest', signal } = options;
    if (typeof from === 'object') this.#next = { cursor: from.cursor };
    else this.#next = { start: from === 'earliest' ? StartPosition.EARLIEST : StartPosition.LATEST };
    if (signal?.aborted) this.close();
    signal?.addEventListener('abort', () => this.close(), { once: true, signal: this.#abort.signal });
  }

  /**
   * Resolves once the watch is in place: whatever is committed later will be handed out. `isLast`: of a message after
   * which the server ends the stream because there is no more; any other end is an interruption.
   */
  static async open<E extends { readonly cursor: string }>(
    open: OpenStream<E>,
    options: WatchOptions,
    retryForMs: number,
    isLast: (message: Message<E>) => boolean = () => false,
  ): Promise<Watch<E>> {
    const watch = new Watch(open, options, isLast);
    watch.#first = await watch.#receive(monotonicMs() + retryForMs);
    return watch;
  }

  /** Resume point: after the last entry handed out, or as far beyond it as nothing matched. */
  get cursor(): string {
    return 'cursor' in this.#next ? this.#next.cursor : '';
  }

  /** Ends the watch and its iteration. */
  close(): void {
    this.#abort.abort();
  }

  /** One iteration only. Leaving the loop closes the watch. */
  async *[Symbol.asyncIterator](): AsyncGenerator<E, void> {
    try {
      let message = this.#first;
      this.#first = undefined;
      for (; message; message = await this.#receive(Number.POSITIVE_INFINITY)) {
        for (const entry of message.entries) {
          this.#next = { cursor: entry.cursor };
          yield entry;
        }
        if (message.heartbeat) this.#next = { cursor: message.heartbeat.cursor };
      }
    } finally {
      this.close();
    }
  }

  /** The next message, over as many streams as it takes; undefined once closed, or when the last one is over. */
  async #receive(untilMs: number): Promise<Message<E> | undefined> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      let error: Error;
      let pauseMs: number;
      try {
        this.#messages ??= this.#open(this.#next, signal)[Symbol.asyncIterator]();
        const { value, done } = await this.#messages.next();
        if (!done) {
          this.#backoff.reset();
          this.#over = this.#isLast(value);
          return value;
        }
        if (this.#over) return undefined;
        error = new Error('the server ended the stream');
        pauseMs = this.#backoff.next();
      } catch (thrown) {
        if (signal.aborted) break;
        const refusal = asTailraceError(thrown);
        pauseMs = this.#backoff.next(refusal);
        if (!refusal.passing || monotonicMs() + pauseMs > untilMs) throw refusal;
        error = refusal;
      }
      this.#messages = undefined;
      this.#options.onInterruption?.(error);
      await pause(pauseMs, signal);
    }
    return undefined;
  }
}
