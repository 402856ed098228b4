/** Frames in the words of the contract. A frame that goes to a hundred readers is converted once. */
import { create } from '@bufbuild/protobuf';
import {
  type Frame,
  FrameSchema,
  type FramesClosed,
  FramesClosedSchema,
  FramesCloseReason,
} from '../../../../gen/tailrace/v1/frame_pb.js';
import { isTerminal } from '../../../domain/states.js';
import { DURABLE, type StreamFrame, SUMMARY } from '../../../frames/source.js';
import type { Close } from '../../../repository/frames/index.js';
import { toOptionalPayload } from '../../conversion/payload.js';
import { toTimestamp } from '../../conversion/times.js';

const converted = new WeakMap<StreamFrame, Frame>();

export function toFrame(frame: StreamFrame, attemptNumber: number): Frame {
  const known = converted.get(frame);
  if (known) return known;
  const { mode, number, cursor, type, whole, payloadType, payload, at } = frame;
  const content = toOptionalPayload(payloadType, payload);
  const made = create(FrameSchema, {
    cursor,
    attemptNumber,
    mode,
    type,
    ...(content && { payload: content }),
    appendTime: toTimestamp(at),
    number: mode === DURABLE ? BigInt(number) : 0n,
    summaryVersion: mode === SUMMARY ? BigInt(number) : 0n,
    summaryWhole: whole,
  });
  converted.set(frame, made);
  return made;
}

/** The attempt's end is final; of the execution it is told as it was right after it. */
export function toClosed({ outcome, state, endedAt }: Close): FramesClosed {
  return create(FramesClosedSchema, {
    reason: isTerminal(state) ? FramesCloseReason.EXECUTION_ENDED : FramesCloseReason.ATTEMPT_ENDED,
    outcome,
    closeTime: toTimestamp(endedAt),
  });
}
