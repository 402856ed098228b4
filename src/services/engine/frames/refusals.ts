/** Why frames were not written, as the contract says it. */
import { EngineError } from '../../../domain/errors.js';
import type { FrameLimits, RefusedFrames } from '../../../repository/frames/index.js';

/** `count`: DURABLE frames that the attempt has. */
export function framesRefusal(
  { verdict }: RefusedFrames,
  execution: string,
  limits: FrameLimits,
  count?: number,
): EngineError {
  const subject = { execution_id: execution };
  switch (verdict) {
    case 'conflict':
      return new EngineError('VERSION_CONFLICT', `the attempt has ${count} durable frames, and others than these`, {
        metadata: { ...subject, current_count: String(count) },
      });
    case 'too_many_frames':
      return new EngineError('FRAME_LIMIT_EXCEEDED', `an attempt has at most ${limits.frames} durable frames`, {
        metadata: { ...subject, limit: String(limits.frames), unit: 'frames' },
      });
    case 'summary_too_large':
      return new EngineError('FRAME_LIMIT_EXCEEDED', `a summary has at most ${limits.summaryBytes} bytes`, {
        metadata: { ...subject, limit: String(limits.summaryBytes), unit: 'summary_bytes' },
      });
  }
}
