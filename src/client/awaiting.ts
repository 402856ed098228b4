/** Waits at the server, one after the other, until what is waited for is there or the time is over. */
import { type Duration, durationFromMs } from '@bufbuild/protobuf/wkt';
import { monotonicMs } from '../runtime/clock.js';
import { retrying } from './retry.js';

/** One wait; the server permits 60 s. */
const STEP_MS = 30_000;
/** An answer that takes longer beyond its wait is given up and asked for again. */
const ANSWER_MS = 15_000;

export interface AwaitBounds {
  /** Milliseconds. Default: without end. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

interface CallBounds {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** The last answer; it is not `done` if the timeout passed first. */
export async function awaiting<T extends { readonly done: boolean }>(
  call: (timeout: Duration, bounds: CallBounds) => Promise<T>,
  { timeoutMs = Number.POSITIVE_INFINITY, signal }: AwaitBounds,
  forMs: number,
): Promise<T> {
  const endMs = monotonicMs() + timeoutMs;
  for (;;) {
    const stepMs = Math.ceil(Math.max(0, Math.min(STEP_MS, endMs - monotonicMs())));
    const bounds = { timeoutMs: stepMs + ANSWER_MS, ...(signal && { signal }) };
    const answer = await retrying(() => call(durationFromMs(stepMs), bounds), { forMs, signal });
    if (answer.done || monotonicMs() >= endMs) return answer;
  }
}
