import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { CancelRequestSchema } from '../../../gen/tailrace/v1/cancel_pb.js';
import { Content, text } from '../../../src/client/content.js';
import { CanceledError, Delay, PermanentError, RateLimitedError } from '../../../src/worker/handler-errors.js';
import { type FailedOutcome, outcomeOfResult, outcomeOfThrown } from '../../../src/worker/outcome.js';
import { AttemptTimeoutError, CancelRequestedError } from '../../../src/worker/stop-reasons.js';

const running = new AbortController().signal;
const attempt = (action: () => unknown) => {
  try {
    return action();
  } catch (error) {
    return error;
  }
};
const failureOf = (thrown: unknown, signal = running) => (outcomeOfThrown(thrown, signal) as FailedOutcome).failure;

describe('what a handler throws', () => {
  test.each([
    [new Error('x'), FailureClass.TRANSIENT],
    ['not an error', FailureClass.TRANSIENT],
    [undefined, FailureClass.TRANSIENT],
    [new PermanentError('x'), FailureClass.PERMANENT],
    [new (class extends PermanentError {})('x'), FailureClass.PERMANENT],
    [new RateLimitedError(1_000), FailureClass.RATE_LIMITED],
    [new CanceledError('x'), FailureClass.CANCELED],
    [new CancelRequestedError(create(CancelRequestSchema)), FailureClass.CANCELED],
    [new AttemptTimeoutError(), FailureClass.TIMEOUT],
  ])('%s has its class', (thrown, failureClass) => {
    expect(failureOf(thrown).failureClass).toBe(failureClass);
  });

  test('content that cannot be read is permanent', () => {
    const input = new Content(text('{'));
    const thrown = attempt(() => input.json());
    expect(failureOf(thrown).failureClass).toBe(FailureClass.PERMANENT);
  });

  test('an AbortError means what its signal was aborted for', () => {
    const aborted = AbortSignal.abort(new CancelRequestedError(create(CancelRequestSchema)));
    const thrown = new DOMException('This operation was aborted', 'AbortError');
    expect(failureOf(thrown, aborted).failureClass).toBe(FailureClass.CANCELED);
    expect(failureOf(thrown).failureClass).toBe(FailureClass.TRANSIENT);
  });

  test('a rate limit carries its time, as a span or an instant', () => {
    expect(outcomeOfThrown(new RateLimitedError(2_500), running)).toMatchObject({
      retryDelay: { seconds: 2n, nanos: 500_000_000 },
    });
    expect(outcomeOfThrown(new RateLimitedError(new Date(7_000)), running)).toMatchObject({
      retryTime: { seconds: 7n },
    });
  });

  test.each([Number.NaN, -1, new Date(Number.NaN)])('a rate limit until %s is a mistake', (until) => {
    expect(() => new RateLimitedError(until)).toThrow(RangeError);
  });

  test('a delay is no failure', () => {
    expect(outcomeOfThrown(new Delay(1_000, 'later'), running)).toEqual({
      kind: 'delayed',
      delayMs: 1_000,
      reason: 'later',
    });
  });
});

describe('the report of a failure', () => {
  test('names the error, its stack and its causes', () => {
    const error = new Error('outer', { cause: new TypeError('inner') });
    const { message, code, details } = failureOf(error);
    expect(message).toBe('outer');
    expect(code).toBe('Error');
    const told = new Content(details).json<{ stack: string; causes: string[] }>();
    expect(told?.stack).toContain('outcome.test');
    expect(told?.causes).toEqual(['TypeError: inner']);
  });

  test("prefers the error's own code", () => {
    expect(failureOf(Object.assign(new Error('no such file'), { code: 'ENOENT' })).code).toBe('ENOENT');
  });

  test('is cut to what the engine takes, between characters and without NUL', () => {
    const { message } = failureOf(new Error(`a\0b\ud800${'😀'.repeat(10_000)}`));
    expect(message.startsWith('ab\ufffd😀')).toBe(true);
    expect(Buffer.byteLength(message)).toBeLessThanOrEqual(16 * 1024);
    expect(message.isWellFormed()).toBe(true);
  });
});

describe('what a handler returns', () => {
  test.each([[{ a: 1 }], [null], ['text'], [0], [[1, 2]]])('%j is sent as JSON', (value) => {
    const outcome = outcomeOfResult(value);
    expect(outcome.kind === 'completed' && new Content(outcome.result).json()).toEqual(value);
  });

  test('nothing is no result', () => {
    expect(outcomeOfResult(undefined)).toMatchObject({
      kind: 'completed',
      result: undefined,
      children: [],
      events: [],
    });
  });

  const cycle: unknown[] = [];
  cycle.push(cycle);
  test.each([[cycle], [1n], [() => 1], [Symbol('s')]])('%s cannot be sent, today or tomorrow', (value) => {
    expect(outcomeOfResult(value)).toMatchObject({ failure: { failureClass: FailureClass.INVALID_RESULT } });
  });
});
