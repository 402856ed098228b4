import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import {
  CompleteExecutionsResponseSchema,
  DelayExecutionResponseSchema,
  FailExecutionsResponseSchema,
  WaitForChildrenResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { type ErrorDetail, ErrorDetailSchema, type ItemError } from '../../../gen/tailrace/v1/error_pb.js';
import { JoinMode } from '../../../gen/tailrace/v1/join_pb.js';
import { text, toPayload } from '../../../src/client/content.js';
import type { TailraceError } from '../../../src/client/errors.js';
import { Children } from '../../../src/worker/children.js';
import { Emissions } from '../../../src/worker/emissions.js';
import type { HeldLease } from '../../../src/worker/held-lease.js';
import { outcomeOfResult, outcomeOfThrown } from '../../../src/worker/outcome.js';
import { Reporter, type ReporterOptions } from '../../../src/worker/reporter.js';
import { heldLease, itemError, LEASE_MS } from './claims.js';

type Engine = ReporterOptions['engine'];

/** What the engine says of one item: undefined records it. */
let verdict: (executionId: string, contentBytes: number) => ItemError | undefined;
const answers = (lease: { executionId?: string } | undefined, contentBytes = 0) => {
  const value = verdict(lease?.executionId ?? '', contentBytes);
  return { result: value ? ({ case: 'error', value } as const) : ({ case: 'ok', value: {} } as const) };
};
const bytesOf = (payload: object | undefined) => JSON.stringify(payload ?? '').length;
const completeExecutions = vi.fn<Engine['completeExecutions']>(async ({ completions = [] }) =>
  create(CompleteExecutionsResponseSchema, {
    results: completions.map(({ lease, result }) => answers(lease, bytesOf(result))),
  }),
);
const failExecutions = vi.fn<Engine['failExecutions']>(async ({ reports = [] }) =>
  create(FailExecutionsResponseSchema, {
    results: reports.map(({ lease, failure }) => answers(lease, bytesOf(failure?.details))),
  }),
);
const delayExecution = vi.fn<Engine['delayExecution']>(async () => create(DelayExecutionResponseSchema));
const waitForChildren = vi.fn<Engine['waitForChildren']>(async () => create(WaitForChildrenResponseSchema));
let settled: { id: string; refusal: TailraceError | undefined }[];
let reporter: Reporter;

beforeEach(() => {
  vi.useFakeTimers();
  for (const call of [completeExecutions, failExecutions, delayExecution, waitForChildren]) call.mockReset();
  verdict = () => undefined;
  settled = [];
  reporter = new Reporter({
    engine: { completeExecutions, failExecutions, delayExecution, waitForChildren },
    namespace: 'n',
    settled: (lease, refusal) => settled.push({ id: lease.ref.executionId, refusal }),
  });
});
afterEach(() => void vi.useRealTimers());

function complete(...ids: string[]): HeldLease[] {
  return ids.map((id) => {
    const lease = heldLease(id);
    reporter.report(lease, outcomeOfResult({ of: id }));
    return lease;
  });
}

/** The executions of each completion call so far. */
const calls = () =>
  completeExecutions.mock.calls.map(([{ completions = [] }]) => completions.map(({ lease }) => lease?.executionId));
const settledIds = () => settled.map(({ id }) => id);
const names = (count: number) => Array.from({ length: count }, (_, index) => `e${index}`);
const refusalOfCall = (reason: string, code = Code.InvalidArgument) =>
  new ConnectError('refused', code, undefined, [
    { desc: ErrorDetailSchema, value: { reason } as Partial<ErrorDetail> },
  ]);

describe('batches', () => {
  test('what ends in one turn of the event loop goes in one call', async () => {
    complete('e1', 'e2', 'e3');
    await vi.advanceTimersByTimeAsync(0);
    expect(calls()).toEqual([['e1', 'e2', 'e3']]);
    expect(settledIds()).toEqual(['e1', 'e2', 'e3']);
  });

  test('no call holds more than 500', async () => {
    complete(...names(1_200));
    await vi.advanceTimersByTimeAsync(1);
    expect(calls().map((call) => call.length)).toEqual([500, 500, 200]);
  });

  test('no call holds more than some megabytes of results', async () => {
    const result = text('x'.repeat(2 ** 20));
    for (const id of names(6)) reporter.report(heldLease(id), outcomeOfResult(result));
    await vi.advanceTimersByTimeAsync(1);
    expect(calls().map((call) => call.length)).toEqual([4, 2]);
  });

  test('while two calls are under way the rest gathers', async () => {
    let answer = () => {};
    completeExecutions.mockImplementation(async ({ completions = [] }) => {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return create(CompleteExecutionsResponseSchema, { results: completions.map(({ lease }) => answers(lease)) });
    });
    for (const id of names(10)) {
      complete(id);
      await vi.advanceTimersByTimeAsync(1);
    }
    expect(calls()).toEqual([['e0'], ['e1']]);
    answer();
    await vi.advanceTimersByTimeAsync(1);
    expect(calls()[2]).toEqual(names(10).slice(2));
  });

  test('one execution is never twice in a call', async () => {
    complete('e1', 'e1', 'e2');
    await vi.advanceTimersByTimeAsync(1);
    expect(calls()).toEqual([['e1', 'e2'], ['e1']]);
  });
});

describe('a server in trouble', () => {
  test('an outcome is sent again until it is taken', async () => {
    completeExecutions.mockRejectedValueOnce(new ConnectError('gone', Code.Unavailable));
    completeExecutions.mockRejectedValueOnce(refusalOfCall('DATABASE_UNAVAILABLE', Code.Unavailable));
    complete('e1');
    await vi.advanceTimersByTimeAsync(1_000);
    expect(calls()).toEqual([['e1'], ['e1'], ['e1']]);
    expect(settled).toEqual([{ id: 'e1', refusal: undefined }]);
  });

  test('it is dropped when the trust window ends, and not before', async () => {
    completeExecutions.mockImplementation(async () => {
      throw new ConnectError('gone', Code.Unavailable);
    });
    complete('e1');
    await vi.advanceTimersByTimeAsync(0.9 * LEASE_MS - 1_000);
    expect(settled).toEqual([]);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(settled).toMatchObject([{ id: 'e1', refusal: { code: Code.Unavailable } }]);
    const tries = completeExecutions.mock.calls.length;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(completeExecutions.mock.calls.length).toBe(tries);
  });

  test('one that comes after the window is offered once: the fence decides', async () => {
    const lease = heldLease('e1');
    vi.advanceTimersByTime(LEASE_MS);
    reporter.report(lease, outcomeOfResult(1));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(settled).toEqual([{ id: 'e1', refusal: undefined }]);
  });

  test('one item in contention goes again, alone', async () => {
    verdict = (id) => (id === 'e2' ? itemError('CONTENTION') : undefined);
    complete('e1', 'e2', 'e3');
    await vi.advanceTimersByTimeAsync(10);
    verdict = () => undefined;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(calls()).toEqual([['e1', 'e2', 'e3'], ['e2']]);
  });
});

test('a lost lease is settled with the refusal and not tried again', async () => {
  verdict = (id) => (id === 'e1' ? itemError('LEASE_LOST', { why: 'superseded' }) : undefined);
  complete('e1', 'e2');
  await vi.advanceTimersByTimeAsync(5_000);
  expect(calls()).toHaveLength(1);
  expect(settled).toMatchObject([
    { id: 'e1', refusal: { reason: 'LEASE_LOST', metadata: { why: 'superseded' } } },
    { id: 'e2', refusal: undefined },
  ]);
});

describe('content the engine does not take', () => {
  test.each(['PAYLOAD_TOO_LARGE', 'INVALID_FIELD'])(
    '%s fails the execution as INVALID_RESULT at once',
    async (reason) => {
      verdict = (_, bytes) => (bytes > 10_000 ? itemError(reason) : undefined);
      reporter.report(heldLease('e1'), outcomeOfResult('x'.repeat(20_000)));
      complete('e2');
      await vi.advanceTimersByTimeAsync(5);
      const [[{ reports = [] } = {}] = []] = failExecutions.mock.calls;
      expect(reports).toMatchObject([
        { lease: { executionId: 'e1' }, failure: { failureClass: FailureClass.INVALID_RESULT, code: reason } },
      ]);
      expect(settledIds().sort()).toEqual(['e1', 'e2']);
    },
  );

  test('a whole call that is refused is halved until the culprit is alone', async () => {
    completeExecutions.mockImplementation(async ({ completions = [] }) => {
      if (completions.some(({ lease }) => lease?.executionId === 'e5')) throw refusalOfCall('MALFORMED_REQUEST');
      return create(CompleteExecutionsResponseSchema, { results: completions.map(({ lease }) => answers(lease)) });
    });
    complete(...names(8));
    await vi.advanceTimersByTimeAsync(5);
    expect(settledIds().sort()).toEqual(names(8));
    expect(failExecutions.mock.calls.flatMap(([{ reports = [] }]) => reports)).toMatchObject([
      { lease: { executionId: 'e5' }, failure: { failureClass: FailureClass.INVALID_RESULT } },
    ]);
  });

  test('a failure whose details are refused is reported without them', async () => {
    verdict = (_, bytes) => (bytes > 2 ? itemError('PAYLOAD_TOO_LARGE') : undefined);
    reporter.report(heldLease('e1'), outcomeOfThrown(new Error('broken'), new AbortController().signal));
    await vi.advanceTimersByTimeAsync(5);
    expect(failExecutions.mock.calls.map(([{ reports = [] }]) => Boolean(reports[0]?.failure?.details))).toEqual([
      true,
      false,
    ]);
    expect(settled).toEqual([{ id: 'e1', refusal: undefined }]);
  });

  test('a failure that is refused bare is settled, not sent for ever', async () => {
    verdict = () => itemError('INVALID_FIELD');
    reporter.report(heldLease('e1'), outcomeOfThrown(new Error('broken'), new AbortController().signal));
    await vi.advanceTimersByTimeAsync(60_000);
    expect(failExecutions).toHaveBeenCalledTimes(2);
    expect(settled).toMatchObject([{ id: 'e1', refusal: { reason: 'INVALID_FIELD' } }]);
  });

  test('so does a delay that is refused become a failure', async () => {
    delayExecution.mockRejectedValueOnce(refusalOfCall('INVALID_FIELD'));
    reporter.report(heldLease('e1'), { kind: 'delayed', delayMs: 1e15, reason: '' });
    await vi.advanceTimersByTimeAsync(5);
    expect(failExecutions).toHaveBeenCalledTimes(1);
    expect(settledIds()).toEqual(['e1']);
  });
});

test('delays go out one by one', async () => {
  reporter.report(heldLease('e1'), { kind: 'delayed', delayMs: 1_500, reason: 'later' });
  reporter.report(heldLease('e2'), { kind: 'delayed', delayMs: 2_500, reason: '' });
  await vi.advanceTimersByTimeAsync(1);
  expect(delayExecution.mock.calls.map(([{ delay, reason }]) => [delay?.seconds, delay?.nanos, reason])).toEqual([
    [1n, 500_000_000, 'later'],
    [2n, 500_000_000, ''],
  ]);
  expect(settledIds()).toEqual(['e1', 'e2']);
});

describe('a wait for children', () => {
  const wait = () =>
    new Children().waitFor([{ type: 'child', input: 1, name: 'one' }, { type: 'child' }], { quorum: 1 });

  test('is an end of its own: the call with the lease, the children and the policy', async () => {
    reporter.report(heldLease('e1'), { kind: 'parked', wait: wait() });
    await vi.advanceTimersByTimeAsync(1);
    expect(waitForChildren.mock.calls[0]?.[0]).toMatchObject({
      namespace: 'n',
      lease: { executionId: 'e1', leaseId: 'lease 1 of e1', fencingToken: 1n },
      children: [
        { name: 'one', execution: { type: 'child', input: toPayload(1) }, optional: false },
        { name: '', execution: { type: 'child' } },
      ],
      policy: { mode: JoinMode.QUORUM, quorum: 1 },
    });
    expect(settled).toEqual([{ id: 'e1', refusal: undefined }]);
  });

  test('is said again with the same content until it is taken', async () => {
    waitForChildren.mockRejectedValueOnce(new ConnectError('gone', Code.Unavailable));
    waitForChildren.mockRejectedValueOnce(refusalOfCall('CONTENTION', Code.Aborted));
    reporter.report(heldLease('e1'), { kind: 'parked', wait: wait() });
    await vi.advanceTimersByTimeAsync(1_000);
    expect(waitForChildren).toHaveBeenCalledTimes(3);
    expect(waitForChildren.mock.calls[2]?.[0]).toEqual(waitForChildren.mock.calls[0]?.[0]);
    expect(settledIds()).toEqual(['e1']);
  });

  test('of a lost lease is settled with the refusal', async () => {
    waitForChildren.mockRejectedValueOnce(refusalOfCall('LEASE_LOST', Code.FailedPrecondition));
    reporter.report(heldLease('e1'), { kind: 'parked', wait: wait() });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(waitForChildren).toHaveBeenCalledTimes(1);
    expect(failExecutions).not.toHaveBeenCalled();
    expect(settled).toMatchObject([{ id: 'e1', refusal: { reason: 'LEASE_LOST' } }]);
  });

  test.each([
    ['WRONG_STATE', FailureClass.CANCELED],
    ['LANE_CLOSED', FailureClass.TRANSIENT],
    ['FLOW_LIMIT_EXCEEDED', FailureClass.INVALID_RESULT],
    ['INVALID_FIELD', FailureClass.INVALID_RESULT],
  ])('refused as %s becomes a failure at once', async (reason, failureClass) => {
    waitForChildren.mockRejectedValueOnce(refusalOfCall(reason, Code.FailedPrecondition));
    reporter.report(heldLease('e1'), { kind: 'parked', wait: wait() });
    await vi.advanceTimersByTimeAsync(5);
    expect(failExecutions.mock.calls[0]?.[0].reports).toMatchObject([
      { lease: { executionId: 'e1' }, failure: { failureClass, code: reason } },
    ]);
    expect(settled).toEqual([{ id: 'e1', refusal: undefined }]);
  });

  test('many are said beside each other', async () => {
    waitForChildren.mockImplementation(() => new Promise(() => {}));
    for (const id of names(20)) reporter.report(heldLease(id), { kind: 'parked', wait: wait() });
    await vi.advanceTimersByTimeAsync(5);
    expect(waitForChildren).toHaveBeenCalledTimes(8);
  });
});

test('children that cannot be made fail the completion that asks for them, and no other', async () => {
  verdict = (id) => (id === 'e1' ? itemError('LANE_CLOSED') : undefined);
  const children = new Children();
  children.spawn({ type: 'child', lane: 'closed' });
  reporter.report(heldLease('e1'), outcomeOfResult(1, children));
  complete('e2');
  await vi.advanceTimersByTimeAsync(5);
  const [[{ completions = [] } = {}] = []] = completeExecutions.mock.calls;
  expect(completions.map(({ children: made }) => made?.length)).toEqual([1, 0]);
  expect(failExecutions.mock.calls[0]?.[0].reports).toMatchObject([
    { failure: { failureClass: FailureClass.TRANSIENT, code: 'LANE_CLOSED' } },
  ]);
});

test('a stream that has gone on fails the attempt that did not see it, and the next one may look again', async () => {
  verdict = () => itemError('STREAM_VERSION_CONFLICT');
  const emissions = new Emissions();
  emissions.emit([{ type: 'paid', stream: 's', expectedStreamVersion: 1 }]);
  reporter.report(heldLease('e1'), outcomeOfResult(1, undefined, emissions));
  await vi.advanceTimersByTimeAsync(5);
  expect(failExecutions.mock.calls[0]?.[0].reports).toMatchObject([
    { failure: { failureClass: FailureClass.TRANSIENT, code: 'STREAM_VERSION_CONFLICT' } },
  ]);
});

test('a result travels as it was given', async () => {
  reporter.report(heldLease('e1'), outcomeOfResult(undefined));
  reporter.report(heldLease('e2'), outcomeOfResult(text('plain')));
  await vi.advanceTimersByTimeAsync(1);
  const [[{ completions = [] } = {}] = []] = completeExecutions.mock.calls;
  expect(completions.map(({ result }) => result)).toEqual([undefined, toPayload(text('plain'))]);
});
