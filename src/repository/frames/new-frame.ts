/** Frames to be written, as the arrays that the functions of frames take: those of all items, one after the other. */
import { int4Array, textArray } from '../binary-arrays.js';
import { type Content, packContents } from '../bytes.js';

export interface NewFrame {
  /** FrameMode of the contract. */
  readonly mode: number;
  /** The handler's own name for it; may be empty. */
  readonly type: string;
  readonly payload: Content | null;
}

/** Eight parameters: where each item's frames end, the item of each, modes, types, and contents as packContents has them. */
export function frameParameters(items: readonly (readonly NewFrame[])[]): unknown[] {
  const frames = items.flat();
  const content = packContents(frames.map(({ payload }) => payload));
  let until = 0;
  return [
    int4Array(items.map(({ length }) => (until += length))),
    int4Array(items.flatMap((own, i) => own.map(() => i + 1))),
    int4Array(frames.map(({ mode }) => mode)),
    textArray(frames.map(({ type }) => type)),
    textArray(content.types),
    int4Array(content.positions),
    int4Array(content.lengths),
    content.bytes,
  ];
}

export interface FrameLimits {
  /** DURABLE ones of one attempt. */
  readonly frames: number;
  /** Of a summary, as JSON text. */
  readonly summaryBytes: number;
}

const REFUSALS = ['conflict', 'too_many_frames', 'summary_too_large'] as const;

/** None of an item's frames was written. */
export interface RefusedFrames {
  /** conflict: other DURABLE frames stand, or none do, where these were expected. */
  readonly verdict: (typeof REFUSALS)[number];
}

export function areRefusedFrames(answer: { readonly verdict: string }): answer is RefusedFrames {
  return (REFUSALS as readonly string[]).includes(answer.verdict);
}
