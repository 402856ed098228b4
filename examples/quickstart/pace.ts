/**
 * How fast the quickstart's workers go. Analyzing a file takes a millisecond or two; so that there is a half way to be
 * killed at, each file is held for a while longer. The report says so, and its times leave it out.
 */

export const WORKERS = ['Ada', 'Grace'] as const;
/** Files at once per worker. */
export const SLOTS = 4;
/** Short, so that what a killed worker held is taken over soon. */
export const LEASE_MS = 2_000;

const WHOLE_MS = 4_000;
const MOST_MS = 400;

/** Milliseconds to hold a file on average, so that all of them take some seconds. */
export function paceFor(files: number): number {
  return Math.round(Math.min(MOST_MS, (WHOLE_MS * WORKERS.length * SLOTS) / files));
}

/** Between half and one and a half of the pace, by the name: files that start together do not end together. */
export function holdMs(file: string, pace: number): number {
  let sum = 0;
  for (const character of file) sum = (sum * 31 + (character.codePointAt(0) ?? 0)) % 1_000;
  return pace * (0.5 + sum / 1_000);
}
