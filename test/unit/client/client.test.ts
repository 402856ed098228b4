import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { beforeEach, describe, expect, test } from 'vitest';
import { CancelMode, LateCompletion } from '../../../gen/tailrace/v1/cancel_pb.js';
import {
  type AwaitExecutionsRequest,
  AwaitMode,
  CompletionService,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import {
  type CancelExecutionRequest,
  type CreateExecutionsRequest,
  EngineService,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorCode } from '../../../gen/tailrace/v1/error_pb.js';
import { bytes, Client, Content, ContentError, InvalidOptionsError, text } from '../../../src/client/index.js';

let creations: CreateExecutionsRequest[];
let cancellations: CancelExecutionRequest[];
let awaits: AwaitExecutionsRequest[];
/** How many calls fail before one is answered. */
let failing: number;
let doneAfter: number;

const client = new Client({
  url: '',
  namespace: 'n',
  transport: createRouterTransport(({ service }) => {
    service(EngineService, {
      createExecutions: (request) => {
        creations.push(request);
        mayFail();
        return {
          results: request.executions.map(({ type }, index) =>
            type === 'refused'
              ? {
                  result: {
                    case: 'error',
                    value: { code: ErrorCode.FAILED_PRECONDITION, detail: { reason: 'LANE_CLOSED' } },
                  },
                }
              : { result: { case: 'ok', value: { executionId: `id${index}` } } },
          ),
        };
      },
      cancelExecution: (request) => {
        cancellations.push(request);
        mayFail();
        return {};
      },
    });
    service(CompletionService, {
      awaitExecutions: (request) => {
        awaits.push(request);
        const executions = request.executionIds.map((executionId) => ({ executionId }));
        return { done: awaits.length > doneAfter, executions };
      },
    });
  }),
});

function mayFail(): void {
  if (failing-- > 0) throw new ConnectError('gone', Code.Unavailable);
}

beforeEach(() => {
  creations = [];
  cancellations = [];
  awaits = [];
  failing = 0;
  doneAfter = 0;
});

describe('create', () => {
  test('says what was asked for', async () => {
    const created = await client.create({
      type: 'greet',
      input: { name: 'world' },
      lane: 'a',
      priority: 5,
      delayMs: 1_500,
      ttlMs: 60_000,
      deadline: new Date(90_000),
      attemptTimeoutMs: 250,
      retry: { maxAttempts: 2, initialBackoffMs: 100, countLostLeases: false },
      tags: { team: 'a' },
      requiredCapabilities: ['gpu'],
      concurrencyKey: 'k',
    });
    expect(created).toEqual({ executionId: 'id0', duplicate: false, state: 0 });
    expect(creations[0]).toMatchObject({ namespace: 'n', atomic: false });
    expect(creations[0]?.executions[0]).toMatchObject({
      type: 'greet',
      input: { contentType: 'application/json', body: { case: 'text', value: '{"name":"world"}' } },
      lane: 'a',
      priority: 5,
      delay: { seconds: 1n, nanos: 500_000_000 },
      ttl: { seconds: 60n },
      deadlineTime: { seconds: 90n },
      attemptTimeout: { nanos: 250_000_000 },
      retryPolicy: { maxAttempts: 2, initialBackoff: { nanos: 100_000_000 }, countLostLeases: false },
      tags: { team: 'a' },
      requiredCapabilities: ['gpu'],
      concurrencyKey: 'k',
    });
  });

  test('is repeated under the same request id, so that nothing is made twice', async () => {
    failing = 3;
    await client.create({ type: 'greet' });
    const ids = creations.map(({ executions }) => executions[0]?.requestId);
    expect(ids).toHaveLength(4);
    expect(new Set(ids).size).toBe(1);
    expect(ids[0]).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('keeps a request id that was given', async () => {
    await client.create({ type: 'greet', requestId: 'mine' });
    expect(creations[0]?.executions[0]?.requestId).toBe('mine');
  });

  test('throws what refused it', async () => {
    await expect(client.create({ type: 'refused' })).rejects.toMatchObject({ reason: 'LANE_CLOSED' });
  });

  test('of many goes in calls the server takes, and answers each in order', async () => {
    const types = Array.from({ length: 2_500 }, (_, index) => (index === 1_200 ? 'refused' : 'greet'));
    const results = await client.createMany(types.map((type) => ({ type })));
    expect(creations.map(({ executions }) => executions.length)).toEqual([1_000, 1_000, 500]);
    expect(results).toHaveLength(2_500);
    expect(results.findIndex(({ ok }) => !ok)).toBe(1_200);
  });

  test('of large inputs goes in smaller calls', async () => {
    const input = 'x'.repeat(2 ** 20);
    await client.createMany(Array.from({ length: 5 }, () => ({ type: 'greet', input })));
    expect(creations.map(({ executions }) => executions.length)).toEqual([3, 2]);
  });

  test('atomically is one call', async () => {
    await client.createMany([{ type: 'a' }, { type: 'b' }], { atomic: true });
    expect(creations).toMatchObject([{ atomic: true }]);
  });

  test('gives up after the time it was given', async () => {
    failing = Number.POSITIVE_INFINITY;
    const transport = createRouterTransport(({ service }) =>
      service(EngineService, { createExecutions: mayFail as never }),
    );
    const impatient = new Client({ url: '', transport, retryForMs: 100 });
    await expect(impatient.create({ type: 'greet' })).rejects.toMatchObject({ code: Code.Unavailable });
  });
});

describe('cancel', () => {
  test('asks and waits as it is told', async () => {
    await client.cancel('e1', { reason: 'enough', graceMs: 5_000, lateCompletion: 'refused', waitMs: 1_000 });
    expect(cancellations[0]).toMatchObject({
      executionId: 'e1',
      reason: 'enough',
      policy: { mode: CancelMode.COOPERATIVE, grace: { seconds: 5n }, lateCompletion: LateCompletion.REFUSED },
      wait: { seconds: 1n },
    });
  });

  test('at once says nothing of a grace', async () => {
    await client.cancel('e1', { mode: 'now' });
    const { policy } = cancellations[0] ?? {};
    expect([policy?.mode, policy?.grace, policy?.lateCompletion]).toEqual([CancelMode.NOW, undefined, 0]);
  });
});

describe('await', () => {
  test('goes on asking until it is done', async () => {
    doneAfter = 3;
    const { done } = await client.awaitExecutions(['e1', 'e2'], { mode: 'any' });
    expect(done).toBe(true);
    expect(awaits).toHaveLength(4);
    expect(awaits[0]).toMatchObject({ executionIds: ['e1', 'e2'], mode: AwaitMode.ANY, timeout: { seconds: 30n } });
  });

  test('ends with the timeout, which is no error', async () => {
    doneAfter = Number.POSITIVE_INFINITY;
    const { done } = await client.awaitExecutions(['e1'], { timeoutMs: 0 });
    expect(done).toBe(false);
    expect((await client.awaitExecution('e1', { timeoutMs: 0 })).executionId).toBe('e1');
  });
});

describe('content', () => {
  test('comes back as it was given', () => {
    expect(new Content(text('plain')).text()).toBe('plain');
    expect(new Content(text('grüße')).bytes()).toEqual(new TextEncoder().encode('grüße'));
    expect(new Content(bytes(new Uint8Array([0, 255]))).bytes()).toEqual(new Uint8Array([0, 255]));
    expect(new Content(bytes(new TextEncoder().encode('{"a":1}'))).json()).toEqual({ a: 1 });
  });

  test('nothing is empty, and not JSON is not JSON', () => {
    expect(new Content(undefined).empty).toBe(true);
    expect(new Content(undefined).json()).toBeUndefined();
    expect(() => new Content(text('{')).json()).toThrow(ContentError);
  });
});

test('wrong options are told all at once', () => {
  expect(() => new Client({ url: 'ftp://x', retryForMs: -1 })).toThrow(InvalidOptionsError);
  expect(() => new Client({ url: 'ftp://x', retryForMs: -1 })).toThrow(/url.*retryForMs/s);
  expect(() => new Client({ url: 'http://x', tls: { ca: new Uint8Array() } })).toThrow(/https/);
});
