import { create } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { RenewLeaseResultSchema } from '../../../gen/tailrace/v1/engine_service_pb.js';
import {
  AttemptKind,
  CancelRequestedError,
  type Handler,
  type HandlerContext,
  LeaseLostError,
  TailraceError,
  Worker,
  WorkerStoppingError,
} from '../../../src/worker/index.js';
import type { WorkerOptions } from '../../../src/worker/options.js';
import { claimOf, LEASE_MS, notRenewed } from './claims.js';
import { FakeEngine } from './fake-engine.js';

let engine: FakeEngine;
let worker: Worker | undefined;
let logged: string[];

beforeEach(() => {
  // setImmediate stays real: it is how these tests let calls through.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
  engine = new FakeEngine();
  logged = [];
});
afterEach(async () => {
  await stopNow();
  vi.useRealTimers();
});

async function started(handler: Handler, options: Partial<WorkerOptions> = {}): Promise<Worker> {
  const { transport } = engine;
  worker = new Worker({ url: '', transport, slots: 10, log: (_, message) => logged.push(message), ...options });
  worker.handle('test', handler);
  await worker.start();
  return worker;
}

async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    if (turn > 2_000) throw new Error('it did not come about');
    await new Promise(setImmediate);
  }
}

/** Lets every call that is under way come through. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise(setImmediate);
}

async function pass(ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) {
    await vi.advanceTimersByTimeAsync(Math.min(50, left));
    await new Promise(setImmediate);
  }
  await settle();
}

async function stopNow(): Promise<void> {
  let stopped = false;
  void worker?.stop().then(() => {
    stopped = true;
  });
  while (worker && !stopped) await pass(1_000);
  worker = undefined;
}

/** A handler that runs until its signal aborts or it is let go. */
function hanging() {
  const contexts: HandlerContext[] = [];
  let letGo = () => {};
  const handler: Handler = (context) => {
    contexts.push(context);
    return new Promise((resolve, reject) => {
      letGo = () => resolve('done');
      context.signal.addEventListener('abort', () => reject(context.signal.reason));
    });
  };
  return { contexts, handler, letGo: () => letGo() };
}

test('a handler gets what it needs, and its result is recorded', async () => {
  let seen: HandlerContext | undefined;
  await started((context) => {
    seen = context;
    return { doubled: 2 * Number(context.input.json()) };
  });
  engine.offer(
    claimOf('e1', {
      input: { contentType: 'application/json', body: { case: 'text', value: '21' } },
      attemptNumber: 3,
      attemptKind: AttemptKind.RETRY,
      tags: { team: 'a' },
      idempotencyKey: 'key',
      failureCount: 2,
      maxAttempts: 3,
      previousFailure: { failureClass: FailureClass.TRANSIENT, message: 'earlier' },
    }),
  );
  await until(() => engine.completions.length === 1);
  expect(engine.completions[0]).toMatchObject({
    lease: { executionId: 'e1', leaseId: 'lease 1 of e1', fencingToken: 1n },
    result: { contentType: 'application/json', body: { value: '{"doubled":42}' } },
  });
  expect(seen).toMatchObject({
    executionId: 'e1',
    type: 'test',
    lane: 'default',
    attemptNumber: 3,
    attemptKind: AttemptKind.RETRY,
    tags: { team: 'a' },
    idempotencyKey: 'key',
    fencingToken: 1n,
    lastAttempt: true,
    previousFailure: { message: 'earlier' },
  });
});

test('what it throws is recorded as a failure', async () => {
  await started(() => {
    throw new TypeError('no');
  });
  engine.offer(claimOf('e1'));
  await until(() => engine.failures.length === 1);
  expect(engine.failures[0]?.failure).toMatchObject({ failureClass: FailureClass.TRANSIENT, code: 'TypeError' });
  expect(logged).toContain('the handler failed');
});

test('progress reaches the engine while it runs', async () => {
  const { contexts, handler } = hanging();
  await started(handler);
  engine.offer(claimOf('e1'));
  await until(() => contexts.length === 1);
  contexts[0]?.progress(40, 'nearly\0 half');
  contexts[0]?.progress(400);
  await pass(200);
  expect(engine.renewals[0]?.renewals[0]?.progress).toMatchObject({ percent: 100, message: '' });
});

test('no more handlers run than there are slots', async () => {
  const { contexts, handler, letGo } = hanging();
  await started(handler, { slots: 2 });
  engine.offer(claimOf('e1'), claimOf('e2'), claimOf('e3'));
  await until(() => contexts.length === 2);
  await pass(1_000);
  expect(contexts).toHaveLength(2);
  letGo();
  await pass(100);
  expect(contexts).toHaveLength(3);
});

describe('leases', () => {
  test('a claim that was long waited for is renewed before its handler starts', async () => {
    const { contexts, handler } = hanging();
    await started(handler);
    await pass(20_000);
    engine.onRenew = () => {
      expect(contexts).toEqual([]);
      return create(RenewLeaseResultSchema, { result: { case: 'ok', value: {} } });
    };
    engine.offer(claimOf('e1'));
    await until(() => contexts.length === 1);
    expect(engine.renewals).toHaveLength(1);
    expect(contexts[0]?.signal.aborted).toBe(false);
  });

  test('a claim that cannot be confirmed is not started', async () => {
    const { contexts, handler } = hanging();
    await started(handler);
    await pass(20_000);
    engine.onRenew = () => notRenewed('LEASE_LOST', { why: 'expired' });
    engine.offer(claimOf('e1'));
    await until(() => engine.renewals.length === 1);
    await settle();
    expect(contexts).toEqual([]);
  });

  test('a request to cancel reaches the handler, which ends it CANCELED', async () => {
    const { contexts, handler } = hanging();
    await started(handler);
    engine.onRenew = () =>
      create(RenewLeaseResultSchema, { result: { case: 'ok', value: { cancelRequest: { reason: 'enough' } } } });
    engine.offer(claimOf('e1'));
    await until(() => contexts.length === 1);
    await pass(LEASE_MS / 2);
    expect(contexts[0]?.signal.reason).toBeInstanceOf(CancelRequestedError);
    expect(engine.failures[0]?.failure?.failureClass).toBe(FailureClass.CANCELED);
  });

  test('when the engine cannot be reached the handler is aborted in time, and nothing is reported', async () => {
    const { contexts, handler } = hanging();
    await started(handler);
    engine.offer(claimOf('e1'));
    await until(() => contexts.length === 1);
    engine.away = Code.Unavailable;
    await pass(LEASE_MS);
    expect(contexts[0]?.signal.reason).toBeInstanceOf(LeaseLostError);
    engine.away = undefined;
    await pass(LEASE_MS);
    expect(engine.failures).toEqual([]);
    expect(logged).toContain('the outcome was dropped');
  });

  test('a lease taken away is not reported on', async () => {
    const { contexts, handler } = hanging();
    await started(handler);
    engine.offer(claimOf('e1'));
    await until(() => contexts.length === 1);
    engine.onRenew = () => notRenewed('LEASE_LOST', { why: 'revoked' });
    await pass(LEASE_MS / 2);
    expect(contexts[0]?.signal.reason).toMatchObject({ why: 'revoked' });
    expect(engine.failures).toEqual([]);
  });
});

describe('a stop', () => {
  test('lets handlers finish, takes nothing more, and says goodbye', async () => {
    const { contexts, handler, letGo } = hanging();
    const stopping = await started(handler);
    engine.offer(claimOf('e1'));
    await until(() => contexts.length === 1);
    const stopped = stopping.stop();
    await pass(5_000);
    const { claimCalls } = engine;
    engine.offer(claimOf('e2'));
    await pass(5_000);
    expect(engine.claimCalls).toBe(claimCalls);
    expect(contexts[0]?.signal.aborted).toBe(false);
    letGo();
    await settle();
    await stopped;
    await stopping.stopped;
    expect(engine.completions).toHaveLength(1);
    expect(engine.released).toEqual([]);
    expect(engine.unregistered).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('aborts what takes longer than the bound, and gives it back without counting', async () => {
    const { contexts, handler } = hanging();
    const stopping = await started(handler, { drainMs: 10_000 });
    engine.offer(claimOf('e1'));
    await until(() => contexts.length === 1);
    const stopped = stopping.stop();
    await pass(9_900);
    expect(contexts[0]?.signal.aborted).toBe(false);
    await pass(200);
    await stopped;
    expect(contexts[0]?.signal.reason).toBeInstanceOf(WorkerStoppingError);
    expect(engine.released).toEqual(['e1']);
    expect(engine.failures).toEqual([]);
  });

  test('leaves a handler behind that ignores its signal', async () => {
    let letGo = (_: string) => {};
    const stopping = await started(() => new Promise((resolve) => (letGo = resolve)), { drainMs: 0 });
    engine.offer(claimOf('e1'));
    await settle();
    const stopped = stopping.stop();
    await pass(1_100);
    await stopped;
    expect(engine.released).toEqual(['e1']);
    letGo('late');
    await settle();
    expect(engine.completions).toEqual([]);
  });

  test('is made by the engine too, which tells a worker to drain', async () => {
    const { contexts, handler } = hanging();
    const draining = await started(handler, { drainMs: 0 });
    engine.offer(claimOf('e1'));
    await until(() => contexts.length === 1);
    engine.drain = true;
    await pass(31_000);
    await draining.stopped;
    expect(engine.released).toEqual(['e1']);
    expect(engine.unregistered).toBe(1);
  });
});

describe('a start', () => {
  test('waits in the background for a server that is away', async () => {
    engine.away = Code.Unavailable;
    const { contexts, handler } = hanging();
    await started(handler);
    await pass(5_000);
    engine.away = undefined;
    engine.offer(claimOf('e1'));
    await pass(6_000);
    expect(contexts).toHaveLength(1);
    expect(engine.heartbeats[0]).toMatchObject({ types: ['test'], lanes: ['default'], maxConcurrency: 10 });
  });

  test('fails for what waiting does not cure', async () => {
    engine.away = Code.Unauthenticated;
    await expect(started(() => {})).rejects.toThrow(TailraceError);
  });

  test('needs a handler, and one per type', async () => {
    const idle = new Worker({ url: '', transport: engine.transport });
    await expect(idle.start()).rejects.toThrow(/handler/);
    idle.handle('a', () => {});
    expect(() => idle.handle('a', () => {})).toThrow(/already/);
  });
});

test('wrong options are told all at once', () => {
  const wrong = () =>
    new Worker({
      url: 'localhost',
      transport: 'carrier pigeon' as 'grpc',
      name: '',
      lanes: { ['x'.repeat(65)]: 0 },
      slots: 1.5,
      leaseDurationMs: 10,
    });
  expect(wrong).toThrow(/url.*transport.*name.*lane.*weight.*slots.*leaseDurationMs/s);
});
