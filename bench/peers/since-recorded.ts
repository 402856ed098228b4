/** How long ago what comes from the log was recorded. The database runs on this machine's clock. */
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import type { CompletionEntry } from '../../gen/tailrace/v1/log_pb.js';

/** Milliseconds until now, of those that are there. */
export function msSince(times: readonly (Timestamp | undefined)[]): number[] {
  const now = performance.timeOrigin + performance.now();
  return times.flatMap((time) => (time ? [now - timestampMs(time)] : []));
}

export function msSinceEnds(entries: readonly CompletionEntry[]): number[] {
  return msSince(entries.map(({ outcome }) => outcome?.endTime));
}
