/**
 * One tail of one attempt: every frame of the wanted modes behind its start, once and in order, then the word that it is over.
 *
 * All that a reader is, is its place: whoever reads for it reads behind that and moves it, so there is no seam between what
 * was and what comes. Those that stand at the same place of a stream are read for together.
 *
 * What its consumer has not taken yet waits in a bounded buffer; while that is full nothing is read for it. A reader that was
 * once level with its stream, ran full, and takes nothing for the grace, is cut with STREAM_TOO_SLOW; one that takes what it
 * can is left to it, for what it lacks is stored. Every way in which a tail breaks off carries the cursor to go on from.
 */
import { EngineError } from '../domain/errors.js';
import type { Close, StreamPlace, StreamRef, StreamWanted } from '../repository/frames/index.js';
import { BoundedQueue, type QueueBounds } from '../runtime/bounded-queue.js';
import { after, monotonicMs } from '../runtime/clock.js';
import { cursorAt, type FramePage, type StreamFrame } from './source.js';

/** Frames; or the end; or neither: everything up to the cursor was delivered. */
export interface FrameMessage {
  readonly frames: readonly StreamFrame[];
  readonly cursor: string;
  readonly closed: Close | undefined;
}

export interface FrameReaderOptions {
  readonly wanted: StreamWanted;
  readonly buffer: QueueBounds;
  /** What one message may hold. */
  readonly message: QueueBounds;
  readonly heartbeatMs: number;
  /** How long one whose buffer ran full may take nothing. */
  readonly graceMs: number;
  /** There is room again. */
  readonly onRoom: () => void;
  /** It took nothing for too long. */
  readonly onCut: () => void;
}

export class FrameReader {
  readonly stream: StreamRef;
  readonly modes: readonly number[];
  readonly #options: FrameReaderOptions;
  readonly #buffer: BoundedQueue<StreamFrame>;
  /** Everything up to here was read; what is wanted of it was handed out or stands in the buffer. */
  #place: StreamPlace;
  /** Everything wanted up to here was handed out. */
  #given: StreamPlace;
  /** There is, or may be, more than was read. */
  #behind = true;
  #full = false;
  /** It has seen the end of what there is, once. */
  #placed = false;
  #closed: Close | undefined;
  /** Set while its buffer is full; calls the cut off. */
  #spare: (() => void) | undefined;
  #ended: unknown;

  constructor(options: FrameReaderOptions) {
    this.#options = options;
    this.#buffer = new BoundedQueue(options.buffer);
    this.stream = options.wanted;
    this.modes = options.wanted.modes;
    this.#place = options.wanted.place;
    this.#given = options.wanted.place;
  }

  get place(): StreamPlace {
    return this.#place;
  }

  /** It is to be read for, and has room for what comes. */
  get isWanting(): boolean {
    return this.#behind && !this.#full && this.#closed === undefined && this.#ended === undefined;
  }

  /** There may be something new. */
  hint(): void {
    this.#behind = true;
  }

  /** It is about to be read for; what is said from now on asks for another read. */
  begin(): void {
    this.#behind = false;
  }

  /** What stands behind its place; undefined: nothing. */
  take(page: FramePage | undefined): void {
    if (this.#ended !== undefined) return;
    for (const frame of page?.frames ?? []) {
      if (this.modes.includes(frame.mode) && !this.#buffer.push(frame, frame.bytes)) {
        this.#lag();
        return;
      }
      this.#place = frame.place;
    }
    if (page) this.#place = page.place;
    if (page?.more) {
      this.#behind = true;
      return;
    }
    this.#closed = page?.closed;
    if (!this.#placed || this.#closed) this.#buffer.wake();
    this.#placed = true;
  }

  /** Ends the tail with an error, which reaches the consumer at its next step; what is buffered is dropped. */
  end(error: unknown): void {
    this.#ended ??= error;
    this.#buffer.clear();
    this.#buffer.wake();
  }

  /** The first message comes as soon as the tail is in place. Ends after the one that closes, or when the signal aborts. */
  async *messages(signal: AbortSignal): AsyncGenerator<FrameMessage, void> {
    const { heartbeatMs, message } = this.#options;
    let spoke = Number.NEGATIVE_INFINITY;
    try {
      while (!signal.aborted) {
        if (this.#ended !== undefined) throw this.#ended;
        const frames = this.#buffer.take(message);
        const isDone = frames.length === 0 && this.#closed !== undefined;
        const leftMs = this.#placed ? spoke + heartbeatMs - monotonicMs() : heartbeatMs;
        if (frames.length > 0 || isDone || leftMs <= 0) {
          this.#given = this.#buffer.size > 0 ? (frames.at(-1)?.place ?? this.#given) : this.#place;
          this.#took();
          yield {
            frames,
            cursor: cursorAt(this.stream, this.#given),
            closed: isDone ? this.#closed : undefined,
          };
          if (isDone) return;
          spoke = monotonicMs();
        } else {
          await this.#buffer.wait(leftMs, signal);
        }
      }
    } catch (error) {
      throw this.#withCursor(error);
    } finally {
      this.#spare?.();
    }
  }

  #lag(): void {
    this.#full = true;
    this.#behind = true;
    this.#give();
  }

  /** Gives it the grace, from now on. */
  #give(): void {
    const { graceMs, onCut } = this.#options;
    if (!this.#placed) return;
    this.#spare?.();
    this.#spare = after(graceMs, () => {
      this.end(new EngineError('STREAM_TOO_SLOW', 'the reader does not keep up; go on from the cursor'));
      onCut();
    });
  }

  #took(): void {
    if (!this.#full) return;
    if (this.#buffer.size > 0) {
      this.#give();
      return;
    }
    this.#full = false;
    this.#spare?.();
    this.#options.onRoom();
  }

  #withCursor(error: unknown): unknown {
    if (!(error instanceof EngineError)) return error;
    const { message, retryDelayMs, violations, metadata } = error;
    return new EngineError(error.reason, message, {
      metadata: { ...metadata, cursor: cursorAt(this.stream, this.#given) },
      violations,
      cause: error,
      ...(retryDelayMs !== undefined && { retryDelayMs }),
    });
  }
}
