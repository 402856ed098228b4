/** Timestamps and spans: checked, and turned into Dates and milliseconds. */
import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import { z } from 'zod';
import { wallMs } from '../../runtime/clock.js';
import { fromDuration, fromTimestamp } from '../conversion/times.js';
import { refuse } from './refusals.js';

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
export const CENTURY_MS = 36_525 * DAY_MS;
const NANOS = 999_999_999;

/** From 1970 to a hundred years ahead; null when it is absent. */
export const timestamp = z
  .custom<Timestamp>()
  .optional()
  .transform((value, context) => {
    if (value === undefined) return null;
    const date = fromTimestamp(value);
    if (value.nanos >= 0 && value.nanos <= NANOS && date.getTime() >= 0 && date.getTime() <= wallMs() + CENTURY_MS) {
      return date;
    }
    const found = `${value.seconds} s and ${value.nanos} ns since 1970`;
    refuse(context.issues, value, `must be from 1970 to a hundred years from now; it is ${found}`);
    return z.NEVER;
  });

/** Milliseconds within [least, most]; null when it is absent. */
export function duration(leastMs: number, mostMs: number) {
  return z
    .custom<Duration>()
    .optional()
    .transform((value, context) => {
      if (value === undefined) return null;
      const ms = fromDuration(value);
      if (value.seconds >= 0n && value.nanos >= 0 && value.nanos <= NANOS && ms >= leastMs && ms <= mostMs) return ms;
      const found = `${value.seconds} s${value.nanos === 0 ? '' : ` and ${value.nanos} ns`}`;
      refuse(context.issues, value, `must be from ${span(leastMs)} to ${span(mostMs)}; it is ${found}`);
      return z.NEVER;
    });
}

function span(ms: number): string {
  for (const [unit, length] of [
    ['d', DAY_MS],
    ['h', HOUR_MS],
    ['min', MINUTE_MS],
    ['s', SECOND_MS],
  ] as const) {
    if (ms >= length && ms % length === 0) return `${ms / length} ${unit}`;
  }
  return ms === 0 ? '0' : `${ms / SECOND_MS} s`;
}
