/** Frames as they are asked for: checked, and turned into what is stored. */
import { z } from 'zod';
import { FrameMode, FrameModeSchema, type FrameSpec } from '../../../../gen/tailrace/v1/frame_pb.js';
import { wrongMergePatch } from '../../../domain/merge-patch.js';
import type { Content } from '../../conversion/payload.js';
import { enumNumber, NAME_BYTES, payload, refuse, type Shape, text } from '../../validation.js';

export const MAX_FRAMES = 1_000;
const JSON_TYPE = /^application\/(.+\+)?json\b/i;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function frameSpec(mostBytes: number) {
  return z
    .object({
      mode: enumNumber(FrameModeSchema).transform((mode) => (mode === 0 ? FrameMode.DURABLE : mode)),
      type: text(NAME_BYTES),
      payload: payload(mostBytes),
    } satisfies Shape<FrameSpec>)
    .transform((frame, context) => {
      if (frame.mode !== FrameMode.SUMMARY) return frame;
      const wrong = frame.payload === null ? 'is required' : wrongPatch(frame.payload);
      if (frame.payload === null || wrong !== undefined) {
        refuse(context.issues, frame.payload, wrong ?? '', ['payload']);
        return z.NEVER;
      }
      const type = JSON_TYPE.test(frame.payload.type) ? frame.payload.type : 'application/json';
      return { ...frame, payload: { ...frame.payload, type } };
    });
}

function wrongPatch({ body }: Content): string | undefined {
  try {
    return wrongMergePatch(utf8.decode(body));
  } catch {
    return 'must be JSON in UTF-8';
  }
}
