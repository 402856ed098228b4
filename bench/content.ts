/** What every contestant is given as input: 1 KiB of text, half of it entropy, with an ordinal in front. */
import { randomBytes } from 'node:crypto';

const BYTES = 1_024;
const BODY = randomBytes(BYTES / 2).toString('hex');

/** Of the same length whatever the ordinal. */
export function inputOf(ordinal: number): string {
  const head = `${ordinal}:`;
  return head + BODY.slice(head.length);
}

export function ordinalOf(input: string): number {
  return Number.parseInt(input, 10);
}

/** Of executions nobody looks for. */
export const NO_ORDINAL = 0;
