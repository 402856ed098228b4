/** What handlers report of what they use, and what a breach does to them. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import type { ReleaseUsageRequest, ReportUsageRequest } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { BudgetExceededError, type Handler, Worker } from '../../../src/worker/index.js';
import { eventually } from '../../support/eventually.js';
import { claimOf } from './claims.js';
import { FakeEngine } from './fake-engine.js';
import { refuse } from './fake-frames.js';

let engine: FakeEngine;
let worker: Worker;
let reports: ReportUsageRequest[];
let releases: ReleaseUsageRequest[];
let logged: string[];
let onReport: () => object;
beforeEach(() => {
  reports = [];
  releases = [];
  logged = [];
  onReport = () => ({});
  engine = new FakeEngine({
    reportUsage: (request) => {
      reports.push(request);
      return onReport();
    },
    releaseUsage: (request) => {
      releases.push(request);
      return { released: { tokens: 3n } };
    },
  });
});
afterEach(() => worker.stop());

async function started(handler: Handler): Promise<void> {
  const log = (_: string, message: string) => void logged.push(message);
  worker = new Worker({ url: '', transport: engine.transport, log, drainMs: 0 }).handle('test', handler);
  await worker.start();
  engine.offer(claimOf('e1'));
}

const exceeded = { budget: 'team', dimension: 'tokens', used: '90', limit: '100' };

test('use is told under the lease, with what crosses a soft limit in the answer', async () => {
  const use = { dimension: 'tokens', used: 90n, limit: { softLimit: 80n, hardLimit: 100n } };
  onReport = () => ({ duplicate: true, warnings: [{ budget: 'team', use }] });
  let reported: unknown;
  await started(async (context) => {
    reported = await context.reportUsage({ tokens: 1_200, cents: 3n }, { key: 'call 1' });
  });
  await eventually(() => engine.completions.length === 1);
  expect(reports[0]).toMatchObject({
    lease: { executionId: 'e1', fencingToken: 1n },
    usage: { tokens: 1_200n, cents: 3n },
    idempotencyKey: 'call 1',
  });
  const warning = { budget: 'team', dimension: 'tokens', used: 90n, softLimit: 80n, hardLimit: 100n };
  expect(reported).toEqual({ duplicate: true, warnings: [warning] });
});

test('use is given back', async () => {
  let released: unknown;
  await started(async (context) => {
    released = await context.releaseUsage({ tokens: 5 });
  });
  await eventually(() => engine.completions.length === 1);
  expect(releases[0]).toMatchObject({ executionId: 'e1', lease: { executionId: 'e1' }, usage: { tokens: 5n } });
  expect(released).toEqual({ tokens: 3n });
});

test('a report without a key is told again under one key, and two reports have two', async () => {
  let tries = 0;
  onReport = () => (++tries === 1 ? refuse('DATABASE_UNAVAILABLE') : {});
  await started(async (context) => {
    await context.reportUsage({ tokens: 1 });
    await context.reportUsage({ tokens: 1 });
  });
  await eventually(() => engine.completions.length === 1);
  const keys = reports.map(({ idempotencyKey }) => idempotencyKey);
  expect(keys[0]).toBe(keys[1]);
  expect(keys[2]).not.toBe(keys[1]);
  expect(keys).not.toContain('');
});

test.each([1.5, -0.5, Number.NaN])('%s is no amount', async (tokens) => {
  let thrown: unknown;
  await started(async (context) => {
    thrown = await context.reportUsage({ tokens }).catch((error) => error);
  });
  await eventually(() => engine.completions.length === 1);
  expect(thrown).toBeInstanceOf(RangeError);
  expect(reports).toEqual([]);
});

test('a breach that is only refused is the business of the handler', async () => {
  onReport = () => refuse('BUDGET_EXCEEDED', exceeded);
  let thrown: unknown;
  await started(async (context) => {
    thrown = await context.reportUsage({ tokens: 20 }).catch((error) => error);
    expect(context.signal.aborted).toBe(false);
    return 'with less';
  });
  await eventually(() => engine.completions.length === 1);
  expect(thrown).toBeInstanceOf(BudgetExceededError);
  expect(thrown).toMatchObject({ effect: 'refused', budget: 'team', dimension: 'tokens', used: 90n, limit: 100n });
});

test('let through it is a failure that is tried again', async () => {
  onReport = () => refuse('BUDGET_EXCEEDED', exceeded);
  await started((context) => context.reportUsage({ tokens: 20 }));
  await eventually(() => engine.failures.length === 1);
  expect(engine.failures[0]?.failure).toMatchObject({
    failureClass: FailureClass.TRANSIENT,
    code: 'BudgetExceededError',
  });
});

test.each([
  ['suspended', 'SUSPENDED'],
  ['ended', 'FAILED'],
])('a breach that has %s the execution stops the handler', async (effect, state) => {
  onReport = () => refuse('BUDGET_EXCEEDED', { ...exceeded, state });
  const seen: unknown[] = [];
  await started(async (context) => {
    try {
      await context.reportUsage({ tokens: 20 });
    } catch (error) {
      seen.push(error, context.signal.reason);
      seen.push(await context.reportUsage({ tokens: 1 }).catch((again) => again));
    }
    return 'nobody wants it';
  });
  await eventually(() => seen.length === 3);
  await worker.stop();
  expect(seen).toEqual([expect.objectContaining({ name: 'BudgetExceededError', effect }), seen[0], seen[0]]);
  expect(reports).toHaveLength(1);
  expect([engine.completions, engine.failures, engine.released, logged]).toEqual([[], [], [], []]);
});
