/** Output of handlers, end to end: to the byte for every reader, once whatever connections do, complete before the end. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { AttemptOutcome } from '../../gen/tailrace/v1/attempt_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { type Frame, FrameMode, type FramesClosed, FramesCloseReason } from '../../gen/tailrace/v1/frame_pb.js';
import { type Client, Content } from '../../src/client/index.js';
import { FramesRefusedError, type Handler, signal, text } from '../../src/worker/index.js';
import type { WorkerOptions } from '../../src/worker/options.js';
import { eventually } from '../support/eventually.js';
import type { TestTailrace } from '../support/tailrace.js';
import { Workplace } from '../support/workplace.js';

const BOUND = { timeoutMs: 20_000 };

let place: Workplace;
let tailrace: TestTailrace;
let client: Client;
let lane: string;
let lanes = 0;
beforeAll(async () => {
  place = await Workplace.start();
  ({ tailrace, client } = place);
});
afterEach(() => place.endOfWork());
afterAll(() => place.stop());

/** Creates an execution and a worker for it. */
async function given(handler: Handler, options: Partial<WorkerOptions> = {}, retry = {}): Promise<string> {
  lane = `frames-${lanes++}`;
  await place.work(lane, { write: handler }, options);
  return (await client.create({ type: 'write', lane, retry: { initialBackoffMs: 10, ...retry } })).executionId;
}

async function read(executionId: string, attemptNumber = 0, modes: FrameMode[] = []) {
  const frames: Frame[] = [];
  let closed: FramesClosed | undefined;
  for (let cursor = '', more = true; more; ) {
    const page = await client.completions.readFrames({ executionId, attemptNumber, modes, cursor, pageSize: 1_000 });
    frames.push(...page.frames);
    ({ cursor, more, closed } = page);
  }
  return { frames, closed, texts: frames.map(({ payload }) => new Content(payload).text()) };
}

const numbers = (many: number) => Array.from({ length: many }, (_, index) => String(index));

describe.each(['connect', 'grpc'] as const)('over %s', (transport) => {
  test('tokens, a summary and passing news reach who tails, and the end says so', async () => {
    let letGo: (value?: unknown) => void = () => {};
    const watched = new Promise((resolve) => {
      letGo = resolve;
    });
    const executionId = await given(
      async (context) => {
        await watched;
        await pipeline(Readable.from(numbers(500)), context.frames({ type: 'token' }));
        await context.summary({ done: 500, unit: 'tokens' });
        void context.emitFrame(text('nearly there'), { mode: 'best_effort' });
        void context.summary({ unit: null });
        return 'told';
      },
      { transport },
    );
    await eventually(
      async () => (await client.admin.getExecution({ executionId })).execution?.state === ExecutionState.RUNNING,
    );
    const frames: Frame[] = [];
    let closed: FramesClosed | undefined;
    for await (const message of client.completions.tailFrames({ executionId })) {
      letGo();
      frames.push(...message.frames);
      closed = message.closed;
    }
    const durable = frames.filter(({ mode }) => mode === FrameMode.DURABLE);
    expect(durable.map(({ payload }) => new Content(payload).text())).toEqual(numbers(500));
    expect(durable.map(({ number }) => number)).toEqual(numbers(500).map((n) => BigInt(n) + 1n));
    expect(new Set(durable.map(({ type }) => type))).toEqual(new Set(['token']));
    expect(frames.filter(({ mode }) => mode === FrameMode.BEST_EFFORT)).toHaveLength(1);
    expect(closed).toMatchObject({ reason: FramesCloseReason.EXECUTION_ENDED, outcome: AttemptOutcome.SUCCEEDED });
    const { summary } = await client.completions.getFrameSummary({ executionId });
    expect(new Content(summary?.document).json()).toEqual({ done: 500 });
    expect(summary?.version).toBe(2n);
  });
});

test('answers that are lost append nothing twice', async () => {
  let calls = 0;
  const forgetful: Interceptor = (next) => async (request) => {
    const answer = await next(request);
    if (request.method.name === 'AppendFrames' && ++calls % 3 !== 0) throw new ConnectError('lost', Code.Unavailable);
    return answer;
  };
  const transport = createConnectTransport({ baseUrl: tailrace.url, httpVersion: '2', interceptors: [forgetful] });
  const executionId = await given(
    async (context) => {
      for (const n of numbers(60)) {
        void context.emitFrame(text(n));
        if (Number(n) % 7 === 0) await context.flushFrames();
      }
    },
    { transport },
  );
  expect((await client.awaitExecution(executionId, BOUND)).outcome?.state).toBe(ExecutionState.SUCCEEDED);
  expect((await read(executionId)).texts).toEqual(numbers(60));
});

test('a handler that is called again after a wait appends after what it left', async () => {
  const executionId = await given(async (context) => {
    if (!context.resume) void context.emitFrame(text('asked'));
    await context.suspend({ condition: signal('go') });
    for (const word of ['asked', 'and', 'answered']) void context.emitFrame(text(word));
  });
  const goOn = { target: { case: 'execution', value: { executionId } }, name: 'go' } as const;
  await eventually(
    async () => (await client.admin.getExecution({ executionId })).execution?.state === ExecutionState.SUSPENDED,
  );
  expect((await read(executionId)).texts).toEqual(['asked']);
  await client.engine.signalExecution(goOn);
  await client.awaitExecution(executionId, BOUND);
  expect((await read(executionId)).texts).toEqual(['asked', 'asked', 'and', 'answered']);
});

test('every attempt has an output of its own, and a failed one keeps what it said', async () => {
  const executionId = await given((context) => {
    void context.emitFrame(text(`attempt ${context.attemptNumber}`));
    if (context.attemptNumber === 1) throw new Error('broken');
  });
  await client.awaitExecution(executionId, BOUND);
  const [first, second] = [await read(executionId, 1), await read(executionId, 2)];
  expect([first.texts, second.texts]).toEqual([['attempt 1'], ['attempt 2']]);
  expect([first.closed?.reason, second.closed?.reason]).toEqual([
    FramesCloseReason.ATTEMPT_ENDED,
    FramesCloseReason.EXECUTION_ENDED,
  ]);
});

test('more than an attempt may say ends it at once, and what fits is there', async () => {
  let refusal: unknown;
  const executionId = await given(async (context) => {
    try {
      await pipeline(Readable.from(numbers(10_300)), context.frames());
    } catch (error) {
      refusal = error;
    }
    return 'nobody gets this';
  });
  const { outcome } = await client.awaitExecution(executionId, BOUND);
  expect(outcome).toMatchObject({ state: ExecutionState.FAILED, reason: EndReason.PERMANENT, attemptNumber: 1 });
  expect(refusal).toBeInstanceOf(FramesRefusedError);
  const { texts } = await read(executionId, 1);
  expect(texts).toEqual(numbers(texts.length));
  expect(texts.length).toBeGreaterThan(9_700);
});

test('output that is no object is no summary', async () => {
  const executionId = await given((context) => context.emitFrame([1, 2], { mode: 'summary' }));
  const { outcome } = await client.awaitExecution(executionId, BOUND);
  expect(outcome).toMatchObject({ state: ExecutionState.FAILED, reason: EndReason.PERMANENT });
  expect(outcome?.failure?.message).toMatch(/object/);
});
