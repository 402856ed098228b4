/**
 * A Node stream over the output of an attempt: `await pipeline(tokens, ctx.frames({ type: 'token' }))`.
 *
 * Every chunk is a frame: a string its text, bytes themselves, anything else as JSON. What is too large for one goes as
 * several. The stream takes as much as the engine does, and has finished when everything is stored. A refusal is its error,
 * and comes up again when the handler ends, so nobody has to listen for it.
 */
import { Writable } from 'node:stream';
import { bytes, text } from '../client/content.js';
import type { FrameOptions, Frames } from './frames.js';

/** What every server takes, unless it was told to take less. */
const FRAME_BYTES = 64 * 2 ** 10;
/** At most three bytes each. */
const FRAME_CHARACTERS = Math.floor(FRAME_BYTES / 3);

export function frameStream(frames: Frames, options: FrameOptions): Writable {
  const stream = new Writable({
    objectMode: true,
    write: (chunk, _, done) => void emitted(frames, chunk, options).then(() => done(), done),
    final: (done) => void frames.flush().then(() => done(), done),
  });
  return stream.on('error', () => {});
}

async function emitted(frames: Frames, chunk: unknown, options: FrameOptions): Promise<void> {
  for (const piece of pieces(chunk)) await frames.emit(piece, options);
}

function* pieces(chunk: unknown): Generator<unknown> {
  if (typeof chunk === 'string') {
    for (let from = 0, to = 0; from < chunk.length; from = to) {
      to = Math.min(chunk.length, from + FRAME_CHARACTERS);
      // A character of two halves stays whole.
      if (to < chunk.length && /[\uD800-\uDBFF]/.test(chunk.charAt(to - 1))) to--;
      yield text(chunk.slice(from, to));
    }
  } else if (chunk instanceof Uint8Array) {
    for (let from = 0; from < chunk.length; from += FRAME_BYTES) {
      yield bytes(chunk.subarray(from, from + FRAME_BYTES));
    }
  } else {
    yield chunk;
  }
}
