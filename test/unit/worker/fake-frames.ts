/** The frames of one attempt in memory, appended as the engine would: durable ones once, where they were expected. */
import { Code, ConnectError } from '@connectrpc/connect';
import type { AppendFramesRequest } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { FrameMode, type FrameSpec } from '../../../gen/tailrace/v1/frame_pb.js';
import { Content } from '../../../src/client/content.js';

export class FakeFrames {
  readonly stored: FrameSpec[] = [];
  readonly calls: AppendFramesRequest[] = [];
  /** Calls that were under way at once, at most. */
  most = 0;
  /** Before a call is looked at: waits, or throws a refusal. */
  before: (request: AppendFramesRequest) => unknown = () => {};
  /** After it was done: throws where the answer is lost. */
  after: (request: AppendFramesRequest) => unknown = () => {};
  #underWay = 0;

  /** What the frames say, in order. */
  get texts(): string[] {
    return this.stored.map(({ payload }) => new Content(payload).text());
  }

  get durable(): FrameSpec[] {
    return this.stored.filter(({ mode }) => mode === FrameMode.DURABLE);
  }

  async append(request: AppendFramesRequest) {
    this.calls.push(request);
    this.most = Math.max(this.most, ++this.#underWay);
    try {
      await this.before(request);
      this.#store(request);
      await this.after(request);
      return { count: BigInt(this.durable.length) };
    } finally {
      this.#underWay--;
    }
  }

  #store({ frames, expectedCount }: AppendFramesRequest): void {
    const there = this.durable.slice(Number(expectedCount ?? this.durable.length));
    const said = (frame: FrameSpec | undefined) => new Content(frame?.payload).text();
    const same = there.every((frame, index) => said(frame) === said(frames[index]));
    if (!same || (expectedCount ?? 0n) > this.durable.length) {
      refuse('VERSION_CONFLICT', { current_count: String(this.durable.length) });
    }
    this.stored.push(...frames.slice(there.length));
  }
}

export function refuse(reason: string, metadata: Record<string, string> = {}): never {
  const detail = { desc: ErrorDetailSchema, value: { reason, metadata } };
  throw new ConnectError(`refused: ${reason}`, Code.FailedPrecondition, undefined, [detail]);
}
