import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CancelRequestSchema } from '../../../gen/tailrace/v1/cancel_pb.js';
import { monotonicMs } from '../../../src/runtime/clock.js';
import { CanceledError } from '../../../src/worker/handler-errors.js';
import { HeldLease } from '../../../src/worker/held-lease.js';
import { AttemptTimeoutError, CancelRequestedError, LeaseLostError } from '../../../src/worker/stop-reasons.js';
import { claimOf, GRANT_MS, heldLease, LEASE_MS } from './claims.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('the trust window is shorter than the lease and its end aborts the signal', () => {
  const lease = heldLease();
  lease.guard();
  vi.advanceTimersByTime(0.9 * LEASE_MS - 1);
  expect(lease.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(lease.signal.reason).toBeInstanceOf(LeaseLostError);
  expect(lease.lost?.why).toBe('trust_ended');
});

test('the window counts from before the claim was sent, not from when it was answered', () => {
  const askedMs = monotonicMs();
  vi.advanceTimersByTime(4_000);
  const lease = new HeldLease(claimOf('e1'), askedMs);
  lease.guard();
  vi.advanceTimersByTime(1_400);
  expect(lease.lost?.why).toBe('trust_ended');
});

test('a claim whose window has passed while it was waited for aborts at once', () => {
  const lease = new HeldLease(claimOf('e1'), monotonicMs() - LEASE_MS);
  lease.guard();
  expect(lease.signal.aborted).toBe(true);
});

test('a renewal moves the window to where it was asked for, never back', () => {
  const lease = heldLease();
  lease.guard();
  vi.advanceTimersByTime(2_000);
  const askedMs = monotonicMs();
  vi.advanceTimersByTime(500);
  lease.renewed(askedMs);
  lease.renewed(askedMs - 1_000);
  expect(lease.trustedUntilMs).toBe(askedMs + 0.9 * LEASE_MS);
  expect(lease.renewalMs).toBe(askedMs + LEASE_MS / 3);
  vi.advanceTimersByTime(0.9 * LEASE_MS - 501);
  expect(lease.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(lease.signal.aborted).toBe(true);
});

test('a request to cancel aborts with who asked and why, and the lease stays held', () => {
  const lease = heldLease();
  lease.guard();
  lease.renewed(monotonicMs(), create(CancelRequestSchema, { reason: 'no longer needed', actor: 'ops' }));
  expect(lease.signal.reason).toBeInstanceOf(CancelRequestedError);
  expect(lease.signal.reason).toBeInstanceOf(CanceledError);
  expect(lease.signal.reason.request.actor).toBe('ops');
  expect(lease.lost).toBeUndefined();
});

test.each([
  { attemptTimeoutTime: timestampFromMs(GRANT_MS + 1_000) },
  { deadlineTime: timestampFromMs(GRANT_MS + 1_000) },
  { attemptTimeoutTime: timestampFromMs(GRANT_MS + 1_000), deadlineTime: timestampFromMs(GRANT_MS + 60_000) },
])('the end of the time an attempt has aborts it, by the database clock alone', (times) => {
  const lease = heldLease('e1', times);
  lease.guard();
  vi.advanceTimersByTime(999);
  expect(lease.signal.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(lease.signal.reason).toBeInstanceOf(AttemptTimeoutError);
});

test('a deadline beyond what a timer can hold does not fire at once', () => {
  const lease = heldLease('e1', { deadlineTime: timestampFromMs(GRANT_MS + 60 * 86_400_000) });
  lease.guard();
  vi.advanceTimersByTime(10);
  expect(lease.signal.aborted).toBe(false);
});

test('nothing aborts after the end', () => {
  const lease = heldLease('e1', { attemptTimeoutTime: timestampFromMs(GRANT_MS + 1_000) });
  lease.guard();
  vi.advanceTimersByTime(100);
  lease.renewed(monotonicMs());
  lease.end();
  vi.advanceTimersByTime(100_000);
  expect(lease.signal.aborted).toBe(false);
  expect(vi.getTimerCount()).toBe(0);
});
