import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  type RenewLeaseResult,
  RenewLeaseResultSchema,
  RenewLeasesResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { type KeeperOptions, LeaseKeeper } from '../../../src/worker/lease-keeper.js';
import { CancelRequestedError } from '../../../src/worker/stop-reasons.js';
import { heldLease, LEASE_MS, notRenewed, renewed } from './claims.js';

type Renew = KeeperOptions['engine']['renewLeases'];
type Answer = (executionId: string) => RenewLeaseResult;

let answer: Answer;
const renewLeases = vi.fn<Renew>(async ({ renewals = [] }) =>
  create(RenewLeasesResponseSchema, { results: renewals.map(({ lease }) => answer(lease?.executionId ?? '')) }),
);
let keeper: LeaseKeeper;

beforeEach(() => {
  vi.useFakeTimers();
  renewLeases.mockReset();
  answer = renewed;
  keeper = new LeaseKeeper({ engine: { renewLeases }, namespace: '', leaseDurationMs: LEASE_MS, log: () => {} });
  keeper.start();
});
afterEach(async () => {
  const stopped = keeper.stop();
  await vi.runAllTimersAsync();
  await stopped;
  vi.useRealTimers();
});

/** The executions named by each call so far. */
function calls(): (string | undefined)[][] {
  return renewLeases.mock.calls.map(([{ renewals = [] }]) => renewals.map(({ lease }) => lease?.executionId));
}

test('idle, it asks nothing', async () => {
  await vi.advanceTimersByTimeAsync(60_000);
  expect(renewLeases).not.toHaveBeenCalled();
});

test('every lease is renewed a third of the way through, and lives on', async () => {
  const lease = heldLease();
  keeper.add(lease);
  await vi.advanceTimersByTimeAsync(1_700);
  expect(renewLeases).not.toHaveBeenCalled();
  await vi.advanceTimersByTimeAsync(400);
  expect(renewLeases).toHaveBeenCalledTimes(1);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(lease.signal.aborted).toBe(false);
  expect(renewLeases.mock.calls.length).toBeLessThanOrEqual(36);
});

test('leases that were claimed one after the other fall into step', async () => {
  keeper.add(heldLease('e1'));
  await vi.advanceTimersByTimeAsync(400);
  keeper.add(heldLease('e2'));
  await vi.advanceTimersByTimeAsync(400);
  keeper.add(heldLease('e3'));
  await vi.advanceTimersByTimeAsync(10_000);
  expect(calls()[0]).toEqual(['e1', 'e2', 'e3']);
  expect(calls().every((call) => call.length === 3)).toBe(true);
});

test('more than a call may hold go in several', async () => {
  for (let i = 0; i < 1_500; i++) keeper.add(heldLease(`e${i}`));
  await vi.advanceTimersByTimeAsync(2_200);
  expect(calls().map((call) => call.length)).toEqual([1_000, 500]);
});

describe('answers', () => {
  test('a lost lease aborts its handler with the reason, and is not asked for again', async () => {
    const [kept, lost] = [heldLease('kept'), heldLease('lost')];
    keeper.add(kept);
    keeper.add(lost);
    answer = (id) => (id === 'lost' ? notRenewed('LEASE_LOST', { why: 'revoked' }) : renewed());
    await vi.advanceTimersByTimeAsync(5_000);
    expect(lost.lost?.why).toBe('revoked');
    expect(lost.signal.aborted).toBe(true);
    expect(kept.signal.aborted).toBe(false);
    expect(calls()[1]).toEqual(['kept']);
  });

  test('a terminal execution is a lost lease', async () => {
    const lease = heldLease();
    keeper.add(lease);
    answer = () => notRenewed('EXECUTION_TERMINAL');
    await vi.advanceTimersByTimeAsync(2_200);
    expect(lease.lost?.why).toBe('EXECUTION_TERMINAL');
  });

  test('contention is no loss: it is asked again', async () => {
    const lease = heldLease();
    keeper.add(lease);
    answer = () => notRenewed('CONTENTION');
    await vi.advanceTimersByTimeAsync(2_200);
    expect(lease.lost).toBeUndefined();
    answer = renewed;
    await vi.advanceTimersByTimeAsync(20_000);
    expect(lease.lost).toBeUndefined();
  });

  test('a request to cancel reaches the handler, and the lease is renewed further', async () => {
    const lease = heldLease();
    keeper.add(lease);
    answer = () =>
      create(RenewLeaseResultSchema, { result: { case: 'ok', value: { cancelRequest: { reason: 'enough' } } } });
    await vi.advanceTimersByTimeAsync(2_200);
    expect(lease.signal.reason).toBeInstanceOf(CancelRequestedError);
    await vi.advanceTimersByTimeAsync(20_000);
    expect(lease.lost).toBeUndefined();
  });

  test('what is refused after its end was lost by nobody', async () => {
    const lease = heldLease();
    keeper.add(lease);
    renewLeases.mockImplementationOnce(async () => {
      keeper.remove(lease);
      return create(RenewLeasesResponseSchema, { results: [notRenewed('EXECUTION_TERMINAL')] });
    });
    await vi.advanceTimersByTimeAsync(3_000);
    expect(lease.lost).toBeUndefined();
    expect(keeper.size).toBe(0);
  });
});

describe('when the server is away', () => {
  test('the trust window ends in time, although every renewal fails', async () => {
    const lease = heldLease();
    keeper.add(lease);
    renewLeases.mockImplementation(async () => {
      throw new ConnectError('gone', Code.Unavailable);
    });
    await vi.advanceTimersByTimeAsync(0.9 * LEASE_MS - 1);
    expect(lease.signal.aborted).toBe(false);
    expect(renewLeases.mock.calls.length).toBeGreaterThan(3);
    await vi.advanceTimersByTimeAsync(1);
    expect(lease.lost?.why).toBe('trust_ended');
  });

  test('the trust window ends in time, although a renewal hangs', async () => {
    const lease = heldLease();
    keeper.add(lease);
    renewLeases.mockImplementation(() => new Promise(() => {}));
    await vi.advanceTimersByTimeAsync(0.9 * LEASE_MS);
    expect(lease.lost?.why).toBe('trust_ended');
  });

  test('a renewal that comes through counts from when it was asked for', async () => {
    const lease = heldLease();
    keeper.add(lease);
    renewLeases.mockImplementationOnce(async () => {
      await vi.advanceTimersByTimeAsync(1_500);
      return create(RenewLeasesResponseSchema, { results: [renewed()] });
    });
    const startMs = lease.renewalMs - LEASE_MS / 3;
    await vi.advanceTimersByTimeAsync(2_200);
    expect(lease.trustedUntilMs - startMs).toBeLessThan(LEASE_MS / 3 + 200 + 0.9 * LEASE_MS);
  });
});

describe('progress', () => {
  test('rides on a renewal at once, the last report winning', async () => {
    const lease = heldLease();
    keeper.add(lease);
    await vi.advanceTimersByTimeAsync(500);
    for (const percent of [10, 20, 30]) {
      lease.progress = { percent, message: '' };
      keeper.renewSoon();
    }
    await vi.advanceTimersByTimeAsync(200);
    const told = renewLeases.mock.calls.map(([{ renewals = [] }]) => renewals[0]?.progress?.percent);
    expect(told).toEqual([30]);
  });

  test('is told again when the call failed, unless it was what was refused', async () => {
    const lease = heldLease();
    keeper.add(lease);
    renewLeases.mockRejectedValueOnce(new ConnectError('gone', Code.Unavailable));
    lease.progress = { percent: 50, message: 'half' };
    keeper.renewSoon();
    await vi.advanceTimersByTimeAsync(1_000);
    const told = renewLeases.mock.calls.map(([{ renewals = [] }]) => renewals[0]?.progress?.percent);
    expect(told).toEqual([50, 50]);
  });
});

test('a newer grant on the same execution supersedes the older lease', () => {
  const older = heldLease('e1');
  const newer = heldLease('e1', {}, 2n);
  keeper.add(older);
  keeper.add(newer);
  expect(older.lost?.why).toBe('superseded');
  expect(keeper.held).toEqual([newer]);
  keeper.remove(older);
  expect(keeper.held).toEqual([newer]);
  keeper.remove(newer);
});
