/** Readers of attempts' output that let nothing pass: every frame, in order, to the byte; again from a cursor if need be. */
import { Code, ConnectError } from '@connectrpc/connect';
import { type Frame, FrameMode } from '../../gen/tailrace/v1/frame_pb.js';
import type { TailraceCalls } from './tailrace-calls.js';

export interface ReaderOptions {
  readonly calls: TailraceCalls;
  readonly executionId: string;
  /** What stands in a frame, numbered from 1. */
  readonly contentOf: (number: number) => Uint8Array;
  /** Told once per frame. */
  readonly onFrame: (number: number) => void;
}

export class FrameReader {
  /** Resolves with the first answer: whatever is appended from then on comes by itself. */
  readonly placed: Promise<void>;
  readonly #options: ReaderOptions;
  #connection = new AbortController();
  #read = 0;
  #cut = 0;
  #cursor = '';
  #place: () => void = () => undefined;

  constructor(options: ReaderOptions) {
    this.placed = new Promise((resolve) => {
      this.#place = resolve;
    });
    this.#options = options;
  }

  /** How often the server cut it off because it did not keep up. */
  get cut(): number {
    return this.#cut;
  }

  /** Hangs up; it comes again at once with its cursor. */
  hangUp(): void {
    const connection = this.#connection;
    this.#connection = new AbortController();
    connection.abort();
  }

  /** Until the output is closed. */
  async follow(): Promise<void> {
    const { signal } = this.#options.calls.loops;
    while (!signal.aborted) {
      const connection = this.#connection;
      try {
        if (await this.#tail(AbortSignal.any([signal, connection.signal]))) return;
      } catch (error) {
        if (connection.signal.aborted) continue;
        if (ConnectError.from(error).code !== Code.ResourceExhausted) throw error;
        this.#cut++;
      }
    }
  }

  /** Answers whether it saw the end. */
  async #tail(signal: AbortSignal): Promise<boolean> {
    const { calls, executionId } = this.#options;
    const from = this.#cursor === '' ? {} : { cursor: this.#cursor };
    const ask = { executionId, attemptNumber: 1, modes: [FrameMode.DURABLE], ...from };
    for await (const { frames, closed } of calls.completions.tailFrames(ask, { signal })) {
      this.#place();
      // What came with the answer that was hung up on has not been read: it comes again.
      if (signal.aborted) return false;
      for (const frame of frames) this.#take(frame);
      if (closed !== undefined) return true;
    }
    throw new Error('a tail ended without a word');
  }

  #take({ number, payload, cursor }: Frame): void {
    const { contentOf, onFrame } = this.#options;
    if (number !== BigInt(++this.#read)) throw new Error(`frame ${number} came where ${this.#read} was due`);
    const body = payload?.body;
    if (body?.case !== 'data' || Buffer.compare(body.value, contentOf(this.#read)) !== 0) {
      throw new Error(`frame ${number} is not what was appended`);
    }
    this.#cursor = cursor;
    onFrame(this.#read);
  }
}
