/** Output of attempts, one call at a time, for tests that decide the order of everything themselves. */
import type { ReadFramesRequest, ReadFramesResponse } from '../../gen/tailrace/v1/completion_service_pb.js';
import type { AppendFramesResponse } from '../../gen/tailrace/v1/engine_service_pb.js';
import { type Frame, FrameMode, type FrameSpec } from '../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import type { Payload } from '../../gen/tailrace/v1/payload_pb.js';
import { type Init, leaseOf } from './by-hand.js';
import type { Clients } from './tailrace.js';

/** Durable unless told otherwise. */
export function text(value: string, type = '', mode = FrameMode.DURABLE) {
  return { mode, type, payload: { body: { case: 'text' as const, value } } };
}

/** A patch of the summary. */
export function json(patch: unknown) {
  const payload = { contentType: 'application/json', body: { case: 'text' as const, value: JSON.stringify(patch) } };
  return { mode: FrameMode.SUMMARY, type: 'patch', payload };
}

/** The texts of frames, as they were written or read. */
export function said(
  frames: readonly { readonly payload?: Pick<Payload, 'body'> | Init<Payload> | undefined }[],
): string[] {
  return frames.map(({ payload }) => (payload?.body?.case === 'text' ? (payload.body.value ?? '') : ''));
}

export class FramesByHand {
  readonly #clients: Pick<Clients, 'engine' | 'completion'>;

  constructor(clients: Pick<Clients, 'engine' | 'completion'>) {
    this.#clients = clients;
  }

  async append(claim: Claim, frames: Init<FrameSpec>[], expectedCount?: bigint): Promise<AppendFramesResponse> {
    const expected = expectedCount === undefined ? {} : { expectedCount };
    return await this.#clients.engine.appendFrames({ lease: leaseOf(claim), frames, ...expected });
  }

  /** One page, of a thousand at most. */
  async read(executionId: string, more: Init<ReadFramesRequest> = {}): Promise<ReadFramesResponse> {
    return await this.#clients.completion.readFrames({ executionId, pageSize: 1_000, ...more });
  }

  async all(executionId: string, more: Init<ReadFramesRequest> = {}): Promise<Frame[]> {
    const frames: Frame[] = [];
    for (let page = await this.read(executionId, more); ; ) {
      frames.push(...page.frames);
      if (!page.more) return frames;
      page = await this.read(executionId, { ...more, cursor: page.cursor });
    }
  }

  async document(executionId: string, attemptNumber = 0): Promise<Record<string, unknown>> {
    const { summary } = await this.#clients.completion.getFrameSummary({ executionId, attemptNumber });
    return JSON.parse(String(summary?.document?.body.value)) as Record<string, unknown>;
  }
}
