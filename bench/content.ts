/** What every contestant is given as input: text, half of it entropy, with an ordinal in front. */
import { randomBytes } from 'node:crypto';

/** Of an input, unless a measure is about its size. */
export const INPUT_BYTES = 1_024;
const MOST_BYTES = 100 * 1_024;
const BODY = randomBytes(MOST_BYTES / 2).toString('hex');

/** Of the same length whatever the ordinal: up to 100 KiB. */
export function inputOf(ordinal: number, bytes: number = INPUT_BYTES): string {
  const head = `${ordinal}:`;
  return head + BODY.slice(head.length, bytes);
}

export function ordinalOf(input: string): number {
  return Number.parseInt(input, 10);
}

/** Of executions nobody looks for. */
export const NO_ORDINAL = 0;
