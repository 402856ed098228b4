/** A tail of an attempt's output that goes on: it is cut, resumes with its last cursor, and remembers all it was told. */
import { ConnectError } from '@connectrpc/connect';
import type { Frame, FrameMode, FramesClosed } from '../../../gen/tailrace/v1/frame_pb.js';
import { StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { pause } from '../../../src/runtime/clock.js';
import { eventually } from '../eventually.js';
import type { Clients } from '../tailrace.js';
import type { Tail } from './history.js';
import { tailed } from './wait-events.js';

export interface TailOptions {
  readonly name: string;
  /** Asked anew for each resume. */
  readonly completion: () => Clients['completion'];
  readonly executionId: string;
  /** Default 1. */
  readonly attemptNumber?: number;
  /** Default all. */
  readonly modes?: FrameMode[];
}

const RESUME_MS = 20;

/** Begins with the first frame. */
export class RecordedTail {
  readonly #options: Required<Omit<TailOptions, 'modes'>> & Pick<TailOptions, 'modes'>;
  readonly #running: Promise<void>;
  #tail = new AbortController();
  #stopped = false;
  #cursor = '';
  /** Errors that ended tails, oldest first. */
  readonly ends: ConnectError[] = [];
  readonly frames: Frame[] = [];
  closed: FramesClosed | undefined;

  constructor(options: TailOptions) {
    this.#options = { attemptNumber: 1, ...options };
    this.#running = this.#run();
  }

  get told(): Tail {
    const { name: reader, executionId: execution, attemptNumber: attempt } = this.#options;
    return { reader, execution, attempt, frames: this.frames.map(tailed), closed: this.closed !== undefined };
  }

  async until(predicate: (tail: this) => boolean, boundMs?: number): Promise<void> {
    await eventually(() => predicate(this), boundMs).catch((error: unknown) => {
      const { name } = this.#options;
      throw new Error(`${name} was told of ${this.frames.length} frames; ends: ${this.ends}`, { cause: error });
    });
  }

  /** Until there will be no more. */
  async whole(): Promise<Frame[]> {
    await this.until(({ closed }) => closed !== undefined);
    return this.frames;
  }

  /** Cuts it; it goes on from its cursor. */
  cut(): void {
    this.#tail.abort();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#tail.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { completion, executionId, attemptNumber, modes = [] } = this.#options;
    while (!this.#stopped && this.closed === undefined) {
      this.#tail = new AbortController();
      const { signal } = this.#tail;
      const begin = this.#cursor === '' ? { start: StartPosition.EARLIEST } : { cursor: this.#cursor };
      try {
        const asked = { executionId, attemptNumber, modes, ...begin };
        for await (const { frames, heartbeat, closed } of completion().tailFrames(asked, { signal })) {
          this.frames.push(...frames);
          this.#cursor = frames.at(-1)?.cursor ?? (heartbeat?.cursor || this.#cursor);
          this.closed = closed;
        }
      } catch (error) {
        if (!signal.aborted) {
          this.ends.push(ConnectError.from(error));
          await pause(RESUME_MS, signal);
        }
      }
    }
  }
}
