/** What handlers can do, end to end over both transports: fail in every class, delay, be canceled, be drained. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AttemptKind, FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { Client, Content } from '../../src/client/index.js';
import {
  CancelRequestedError,
  type Handler,
  type HandlerContext,
  PermanentError,
  RateLimitedError,
  Worker,
  WorkerStoppingError,
} from '../../src/worker/index.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

const BOUND = { timeoutMs: 20_000 };

describe.each(['connect', 'grpc'] as const)('over %s', (transport) => {
  let client: Client;
  let lanes = 0;
  let lane: string;
  beforeAll(() => {
    client = new Client({ url: tailrace.url, transport });
  });
  afterAll(() => client.close());

  async function working(
    handler: Handler,
    options: { drainMs?: number; leaseDurationMs?: number } = {},
  ): Promise<Worker> {
    lane = `${transport}-${lanes++}`;
    return await another(handler, options);
  }

  async function another(handler: Handler, options = {}): Promise<Worker> {
    const quiet = { log: () => {} };
    const worker = new Worker({ url: tailrace.url, transport, lanes: [lane], ...quiet, ...options });
    await worker.handle('work', handler).start();
    return worker;
  }

  async function outcomeOf(handler: Handler, input?: unknown) {
    const worker = await working(handler);
    const { executionId } = await client.create({ type: 'work', lane, input, retry: { initialBackoffMs: 10 } });
    const { outcome } = await client.awaitExecution(executionId, BOUND);
    await worker.stop();
    return outcome;
  }

  test('a result comes back', async () => {
    const outcome = await outcomeOf(({ input }) => ({ got: input.json() }), { a: [1, 'zwei'] });
    expect(outcome?.state).toBe(ExecutionState.SUCCEEDED);
    expect(new Content(outcome?.result).json()).toEqual({ got: { a: [1, 'zwei'] } });
  });

  test('a transient failure is tried again and told what went wrong', async () => {
    const seen: (string | undefined)[] = [];
    const outcome = await outcomeOf(({ attemptNumber, previousFailure, idempotencyKey }) => {
      seen.push(`${attemptNumber} ${previousFailure?.message ?? '-'} ${idempotencyKey !== ''}`);
      if (attemptNumber < 3) throw new Error(`broken ${attemptNumber}`);
    });
    expect(outcome).toMatchObject({ state: ExecutionState.SUCCEEDED, attemptNumber: 3 });
    expect(seen).toEqual(['1 - true', '2 broken 1 true', '3 broken 2 true']);
  });

  test('a permanent failure ends it at once', async () => {
    const outcome = await outcomeOf(() => {
      throw new PermanentError('no such customer');
    });
    expect(outcome).toMatchObject({
      state: ExecutionState.FAILED,
      reason: EndReason.PERMANENT,
      attemptNumber: 1,
      failure: { failureClass: FailureClass.PERMANENT, message: 'no such customer', code: 'PermanentError' },
    });
  });

  test('rate limits and delays do not count', async () => {
    const kinds: AttemptKind[] = [];
    const outcome = await outcomeOf((context) => {
      kinds.push(context.attemptKind);
      if (context.attemptNumber === 1) throw new RateLimitedError(50);
      if (context.attemptNumber === 2) context.delay(50, 'not yet');
      return context.claim.failureCount;
    });
    expect(new Content(outcome?.result).json()).toBe(0);
    expect(kinds).toEqual([AttemptKind.INITIAL, AttemptKind.CONTINUATION, AttemptKind.CONTINUATION]);
  });

  test.each([
    ['too large', () => 'x'.repeat(2 * 2 ** 20)],
    ['no JSON', () => 1n],
  ])('a result that is %s fails it as INVALID_RESULT at once (proof.md 34)', async (_, handler) => {
    const outcome = await outcomeOf(handler);
    expect(outcome).toMatchObject({
      state: ExecutionState.FAILED,
      reason: EndReason.INVALID_RESULT,
      attemptNumber: 1,
      failure: { failureClass: FailureClass.INVALID_RESULT },
    });
  });

  test('a result that is too large harms none beside it', async () => {
    const worker = await working(({ input }) => 'x'.repeat(Number(input.json())));
    const sizes = [1, 2 * 2 ** 20, 3, 4];
    const created = await client.createMany(sizes.map((input) => ({ type: 'work', lane, input })));
    const ids = created.map((result) => (result.ok ? result.executionId : ''));
    const { executions } = await client.awaitExecutions(ids, BOUND);
    const { SUCCEEDED, FAILED } = ExecutionState;
    expect(executions.map(({ outcome }) => outcome?.state)).toEqual([SUCCEEDED, FAILED, SUCCEEDED, SUCCEEDED]);
    await worker.stop();
  });

  /** A handler that runs until its signal aborts; `running` resolves with its context. */
  function running() {
    let begin: (context: HandlerContext) => void = () => {};
    const begun = new Promise<HandlerContext>((resolve) => {
      begin = resolve;
    });
    const untilAborted = (context: HandlerContext) => {
      begin(context);
      return new Promise<never>((_, reject) => {
        context.signal.addEventListener('abort', () => reject(context.signal.reason));
      });
    };
    return { begun, untilAborted };
  }

  test('a request to cancel reaches the handler, and it ends CANCELED', async () => {
    const { begun, untilAborted } = running();
    const worker = await working(untilAborted, { leaseDurationMs: 6_000 });
    const { executionId } = await client.create({ type: 'work', lane });
    const { signal } = await begun;
    await client.cancel(executionId, { reason: 'no longer needed' });
    const { outcome } = await client.awaitExecution(executionId, BOUND);
    expect(signal.reason).toBeInstanceOf(CancelRequestedError);
    expect(signal.reason.request.reason).toBe('no longer needed');
    expect(outcome).toMatchObject({
      state: ExecutionState.CANCELED,
      reason: EndReason.CANCEL_REQUESTED,
      cancelReason: 'no longer needed',
    });
    await worker.stop();
  });

  test('a handler that completes all the same is accepted, as declared', async () => {
    const { begun, untilAborted } = running();
    const worker = await working((context) => untilAborted(context).catch(() => 'finished'), {
      leaseDurationMs: 6_000,
    });
    const { executionId } = await client.create({ type: 'work', lane });
    await begun;
    await client.cancel(executionId, { lateCompletion: 'accepted' });
    const { outcome } = await client.awaitExecution(executionId, BOUND);
    expect(outcome?.state).toBe(ExecutionState.SUCCEEDED);
    await worker.stop();
  });

  test('a drained worker finishes what it can and gives the rest back without counting', async () => {
    const { begun, untilAborted } = running();
    const leaving = await working(untilAborted, { drainMs: 200 });
    const { executionId } = await client.create({ type: 'work', lane });
    const { signal } = await begun;
    await leaving.stop();
    expect(signal.reason).toBeInstanceOf(WorkerStoppingError);

    const kinds: AttemptKind[] = [];
    const next = await another(({ attemptKind, claim }) => {
      kinds.push(attemptKind);
      return claim.failureCount;
    });
    const { outcome } = await client.awaitExecution(executionId, BOUND);
    expect(outcome).toMatchObject({ state: ExecutionState.SUCCEEDED, attemptNumber: 2 });
    expect(new Content(outcome?.result).json()).toBe(0);
    expect(kinds).toEqual([AttemptKind.CONTINUATION]);
    await next.stop();
  });
});
