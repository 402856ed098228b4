/** The output of attempts. */
export { type AppendAnswer, type Appended, type Appending, appendFrames, type StreamCounts } from './append.js';
export { type FoundStream, findStream } from './find.js';
export {
  areRefusedFrames,
  type FrameLimits,
  frameParameters,
  type NewFrame,
  type RefusedFrames,
} from './new-frame.js';
export {
  type Close,
  type PageBounds,
  readFrames,
  type StoredFrame,
  type StreamPage,
  type StreamPlace,
  type StreamRef,
  type StreamWanted,
} from './read.js';
export { readSummaries, type Summary } from './summary.js';
export { sweepPassingFrames } from './sweep.js';
