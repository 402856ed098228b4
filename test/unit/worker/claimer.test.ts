import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ClaimExecutionsResponseSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { monotonicMs } from '../../../src/runtime/clock.js';
import { claimantOf } from '../../../src/worker/claimant.js';
import { Claimer, type ClaimerOptions } from '../../../src/worker/claimer.js';
import { completeOptions } from '../../../src/worker/options.js';
import { claimOf } from './claims.js';

type Claim = ClaimerOptions['engine']['claimExecutions'];

const options = completeOptions({
  url: 'http://localhost',
  lanes: { fast: 3, slow: 1 },
  capabilities: ['gpu'],
  slots: 100,
  log: () => {},
});
/** Executions waiting at the engine. */
let waiting: number;
let running: number;
let asked: { atMs: number; most: number }[];
const onDrain = vi.fn();
const claimExecutions = vi.fn<Claim>();
let claimer: Claimer;

beforeEach(() => {
  vi.useFakeTimers();
  waiting = 0;
  running = 0;
  asked = [];
  onDrain.mockReset();
  claimExecutions.mockReset();
  claimExecutions.mockImplementation(async ({ maxExecutions: most = 0 }, { signal } = {}) => {
    asked.push({ atMs: monotonicMs(), most });
    if (waiting === 0) await new Promise((_, reject) => signal?.addEventListener('abort', reject));
    return claims(Math.min(waiting, most));
  });
  claimer = new Claimer({
    engine: { claimExecutions },
    options,
    claimant: claimantOf(options, 'instance', ['test']),
    room: () => options.slots - running,
    accept: async ({ length }) => {
      waiting -= length;
      running += length;
    },
    onDrain,
  });
});
afterEach(async () => {
  const stopped = claimer.stop();
  await vi.runAllTimersAsync();
  await stopped;
  vi.useRealTimers();
});

function claims(count: number, drain = false) {
  const made = Array.from({ length: count }, (_, index) => claimOf(`e${index}`));
  return create(ClaimExecutionsResponseSchema, { claims: made, drain });
}

function finish(count: number): void {
  running -= count;
  claimer.roomGrew();
}

const mosts = () => asked.map(({ most }) => most);

test('it says who asks, for what, and waits at the server', async () => {
  claimer.start();
  await vi.advanceTimersByTimeAsync(1_000);
  expect(claimExecutions).toHaveBeenCalledTimes(1);
  const [request] = claimExecutions.mock.calls[0] ?? [];
  expect(request).toMatchObject({
    worker: { name: 'worker', instanceId: 'instance' },
    lanes: [
      { lane: 'fast', weight: 3 },
      { lane: 'slow', weight: 1 },
    ],
    types: ['test'],
    capabilities: ['gpu'],
    maxExecutions: 100,
  });
  expect([request?.wait, request?.leaseDuration]).toMatchObject([{ seconds: 60n }, { seconds: 6n }]);
});

describe('batches', () => {
  test('it asks for as much as there is room for, and for nothing when full', async () => {
    waiting = 250;
    claimer.start();
    await vi.advanceTimersByTimeAsync(100);
    expect(mosts().slice(-1)).toEqual([100]);
    finish(60);
    await vi.advanceTimersByTimeAsync(100);
    expect(mosts().slice(-1)).toEqual([60]);
    expect(running).toBe(100);
  });

  test('little room is let grow for a moment', async () => {
    waiting = 1_000;
    claimer.start();
    await vi.advanceTimersByTimeAsync(100);
    asked = [];
    for (let i = 0; i < 4; i++) {
      finish(5);
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(asked).toEqual([]);
    await vi.advanceTimersByTimeAsync(5);
    expect(mosts()).toEqual([20]);
  });

  test('a quarter of the slots is enough not to wait', async () => {
    waiting = 1_000;
    claimer.start();
    await vi.advanceTimersByTimeAsync(100);
    asked = [];
    finish(25);
    await vi.advanceTimersByTimeAsync(0);
    expect(mosts()).toEqual([25]);
  });
});

describe('errors', () => {
  test('are answered with growing pauses', async () => {
    const at: number[] = [];
    claimExecutions.mockImplementation(async () => {
      at.push(monotonicMs());
      throw new ConnectError('gone', Code.Unavailable);
    });
    claimer.start();
    await vi.advanceTimersByTimeAsync(60_000);
    const pauses = at.slice(1).map((ms, index) => ms - (at[index] ?? 0));
    expect(pauses[0]).toBeLessThanOrEqual(100);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(5_001);
    expect(Math.min(...pauses.slice(-3))).toBeGreaterThanOrEqual(2_500);
  });

  test('never with less than the engine asked for', async () => {
    const detail = { reason: 'OVERLOADED', retryDelay: { seconds: 3n } };
    const at: number[] = [];
    claimExecutions.mockImplementation(async () => {
      at.push(monotonicMs());
      throw new ConnectError('busy', Code.ResourceExhausted, undefined, [{ desc: ErrorDetailSchema, value: detail }]);
    });
    claimer.start();
    await vi.advanceTimersByTimeAsync(2_999);
    expect(at).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2);
    expect(at).toHaveLength(2);
  });

  test('an engine that answers nothing at once is not hurried', async () => {
    claimExecutions.mockImplementation(async () => claims(0));
    claimer.start();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(claimExecutions.mock.calls.length).toBeLessThan(60);
  });
});

test('that it should drain is passed on, with the claims of the same answer accepted', async () => {
  claimExecutions.mockImplementationOnce(async () => claims(2, true));
  claimer.start();
  await vi.advanceTimersByTimeAsync(10);
  expect(running).toBe(2);
  expect(onDrain).toHaveBeenCalledTimes(1);
});

test('a stop gives up the wait at the server', async () => {
  claimer.start();
  await vi.advanceTimersByTimeAsync(10);
  await claimer.stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(claimExecutions).toHaveBeenCalledTimes(1);
});
