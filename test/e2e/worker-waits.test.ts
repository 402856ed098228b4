/** Waits in the middle of handlers: parked without a slot, gone on in any process, passed with what they brought. */
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { AttemptKind } from '../../gen/tailrace/v1/attempt_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { SignalEffect, SignalSource } from '../../gen/tailrace/v1/signal_pb.js';
import { Client, Content } from '../../src/client/index.js';
import {
  allOf,
  anySignal,
  CanceledError,
  count,
  type Handler,
  type HandlerContext,
  operatorOnly,
  ResumeCause,
  type SuspensionOutcome,
  signal,
  Worker,
} from '../../src/worker/index.js';
import type { WorkerOptions } from '../../src/worker/options.js';
import { eventually } from '../support/eventually.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const BOUND = { timeoutMs: 20_000 };

let tailrace: TestTailrace;
let client: Client;
let workers: Worker[] = [];
let lane: string;
let lanes = 0;
beforeAll(async () => {
  tailrace = await startTailrace();
  client = new Client({ url: tailrace.url });
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  workers = [];
});
afterAll(async () => {
  client.close();
  await tailrace.stop();
});

async function working(handlers: Record<string, Handler>, options: Partial<WorkerOptions> = {}): Promise<Worker> {
  const worker = new Worker({ url: tailrace.url, lanes: [lane], log: () => {}, drainMs: 0, ...options });
  for (const [type, handler] of Object.entries(handlers)) worker.handle(type, handler);
  await worker.start();
  workers.push(worker);
  return worker;
}

function newLane(): string {
  lane = `waits-${lanes++}`;
  return lane;
}

async function stateOf(executionId: string): Promise<ExecutionState | undefined> {
  return (await client.admin.getExecution({ executionId })).execution?.state;
}

async function parked(executionId: string): Promise<void> {
  await eventually(async () => (await stateOf(executionId)) === ExecutionState.SUSPENDED);
}

async function outcomeOf(executionId: string) {
  const { outcome } = await client.awaitExecution(executionId, BOUND);
  return {
    state: outcome?.state,
    reason: outcome?.reason,
    attempt: outcome?.attemptNumber,
    result: new Content(outcome?.result).json(),
  };
}

/** To the execution itself. */
async function tell(executionId: string, name: string, sourceId = 'somebody'): Promise<SignalEffect> {
  const target = { case: 'execution', value: { executionId } } as const;
  return (await client.engine.signalExecution({ target, name, sourceId, source: SignalSource.HUMAN })).effect;
}

const said = ({ cause, signals, timedOut }: SuspensionOutcome) =>
  [ResumeCause[cause], timedOut, ...signals.map(({ name }) => name)].join(' ');

describe.each(['connect', 'grpc'] as const)('over %s', (transport) => {
  test('an approval comes back by its token, and the same attempt goes on', async () => {
    newLane();
    const contexts: HandlerContext[] = [];
    const tokens: string[] = [];
    const handler: Handler = async (context) => {
      contexts.push(context);
      const { token, closed } = await context.waitpoint('boss', { expiryMs: 60_000 });
      if (!closed) tokens.push(token);
      const { signals } = await context.suspend({
        condition: signal('decided', { waitpoint: 'boss' }),
        reason: 'approval',
        note: 'a mill',
        timeoutMs: 60_000,
      });
      const [decision] = signals;
      return [decision?.content.json(), decision?.source, decision?.sourceId, decision?.waitpoint];
    };
    await working({ refund: handler }, { transport });
    const { executionId } = await client.create({ type: 'refund', lane });
    await parked(executionId);
    const { effect } = await client.engine.signalExecution({
      target: { case: 'waitpointToken', value: tokens[0] ?? '' },
      name: 'decided',
      payload: { contentType: 'application/json', body: { case: 'text', value: '{"approved":true}' } },
      source: SignalSource.HUMAN,
      sourceId: 'ada',
    });
    expect(effect).toBe(SignalEffect.SATISFIED);
    expect(await outcomeOf(executionId)).toMatchObject({
      state: ExecutionState.SUCCEEDED,
      attempt: 1,
      result: [{ approved: true }, 'human', 'ada', 'boss'],
    });
    const [before, after] = contexts;
    expect(contexts).toHaveLength(2);
    expect(after).toMatchObject({ attemptNumber: 1, attemptKind: AttemptKind.INITIAL });
    expect(after?.resume).toMatchObject({ cause: ResumeCause.SATISFIED, number: 1 });
    expect(after?.fencingToken).toBeGreaterThan(before?.fencingToken ?? 0n);
    expect(tokens).toHaveLength(1);
  });

  test('several waits in a row are passed with what each brought, whoever goes on', async () => {
    newLane();
    const passes: string[][] = [];
    const handler: Handler = async (context) => {
      const pass: string[] = [];
      passes.push(pass);
      const wait = async (outcome: Promise<SuspensionOutcome>) => void pass.push(said(await outcome));
      await wait(context.suspend({ condition: signal('early') }));
      await wait(context.suspend({ condition: allOf(signal('a'), signal('b')) }));
      await context.sleep(100);
      await wait(context.suspend({ condition: signal('never'), timeoutMs: 100, onTimeout: 'resume' }));
      await wait(context.suspend({ condition: operatorOnly(), reason: 'operator_review' }));
      await wait(context.suspend({ condition: count(2, { distinct: 'sources', among: [anySignal()] }) }));
      return pass;
    };
    const { executionId } = await client.create({ type: 'long', lane });
    expect(await tell(executionId, 'early')).toBe(SignalEffect.BUFFERED);
    const first = await working({ long: handler }, { transport });
    await parked(executionId);
    await first.stop();
    await working({ long: handler }, { transport });
    expect(await tell(executionId, 'b')).toBe(SignalEffect.APPENDED);
    expect(await tell(executionId, 'a')).toBe(SignalEffect.SATISFIED);
    const reviewed = async () => (await client.admin.listSuspendedExecutions({ lanes: [lane] })).suspensions[0];
    await eventually(async () => (await reviewed())?.suspensionNumber === 5);
    await client.admin.resumeExecution({ executionId, signalName: 'looks good' });
    await eventually(async () => (await reviewed())?.suspensionNumber === 6);
    expect(await tell(executionId, 'x', 'one')).toBe(SignalEffect.APPENDED);
    expect(await tell(executionId, 'y', 'one')).toBe(SignalEffect.APPENDED);
    expect(await tell(executionId, 'z', 'two')).toBe(SignalEffect.SATISFIED);
    const all = [
      'SATISFIED false early',
      'SATISFIED false b a',
      'TIMEOUT true timeout',
      'OPERATOR false looks good',
      'SATISFIED false x z',
    ];
    expect(await outcomeOf(executionId)).toMatchObject({ state: ExecutionState.SUCCEEDED, attempt: 1, result: all });
    expect(passes).toEqual([1, 2, 2, 3, 4, 5].map((many) => all.slice(0, many)));
  });

  test('what would wait after it was told to stop ends canceled', async () => {
    newLane();
    let thrown: unknown;
    const handler: Handler = async (context) => {
      await new Promise((resolve) => context.signal.addEventListener('abort', resolve, { once: true }));
      thrown = await context.suspend({ condition: operatorOnly() }).catch((error) => error);
      throw thrown;
    };
    await working({ stubborn: handler }, { transport, leaseDurationMs: 1_000 });
    const { executionId } = await client.create({ type: 'stubborn', lane });
    await eventually(async () => (await stateOf(executionId)) === ExecutionState.RUNNING);
    await client.cancel(executionId, { reason: 'enough' });
    expect(await outcomeOf(executionId)).toMatchObject({ state: ExecutionState.CANCELED, attempt: 1 });
    expect(thrown).toBeInstanceOf(CanceledError);
  });
});

test('answers that are lost park it once, and bring what they would have brought', async () => {
  newLane();
  const lost = new Map<string, number>();
  const forgetful: Interceptor = (next) => async (request) => {
    const answer = await next(request);
    const { name } = request.method;
    const times = (lost.get(name) ?? 0) + 1;
    lost.set(name, times);
    const ours = ['SuspendExecution', 'CreateWaitpoint', 'ListMatchedSignals', 'ReportUsage'].includes(name);
    if (ours && times % 2 === 1) throw new ConnectError('lost', Code.Unavailable);
    return answer;
  };
  const transport = createConnectTransport({ baseUrl: tailrace.url, httpVersion: '2', interceptors: [forgetful] });
  const handler: Handler = async (context) => {
    await context.waitpoint('desk');
    await context.reportUsage({ calls: 1 }, { key: `call ${context.resume?.number ?? 0}` });
    const outcomes = [
      await context.suspend({ condition: signal('early') }),
      await context.suspend({ condition: signal('go') }),
      await context.suspend({ condition: signal('on') }),
    ];
    return outcomes.map(said);
  };
  const { executionId } = await client.create({ type: 'lossy', lane });
  await tell(executionId, 'early');
  await working({ lossy: handler }, { transport });
  await parked(executionId);
  expect(await tell(executionId, 'go')).toBe(SignalEffect.SATISFIED);
  const suspension = async () => (await client.admin.listSuspendedExecutions({ lanes: [lane] })).suspensions[0];
  await eventually(async () => (await suspension())?.suspensionNumber === 3);
  await tell(executionId, 'on');
  expect(await outcomeOf(executionId)).toMatchObject({
    attempt: 1,
    result: ['SATISFIED false early', 'SATISFIED false go', 'SATISFIED false on'],
  });
  expect(lost.get('SuspendExecution')).toBeGreaterThanOrEqual(4);
  const { attempts } = await client.admin.listAttempts({ executionId });
  expect(attempts[0]?.usage['calls']).toBe(3n);
});

test('a wait holds no slot', async () => {
  newLane();
  const handlers: Record<string, Handler> = {
    patient: (context) => context.suspend({ condition: signal('go') }).then(said),
    quick: () => 'done',
  };
  await working(handlers, { slots: 1 });
  const created = await client.createMany(Array.from({ length: 20 }, () => ({ type: 'patient', lane })));
  const patient = created.map((result) => (result.ok ? result.executionId : ''));
  for (const executionId of patient) await parked(executionId);
  const { executionId } = await client.create({ type: 'quick', lane });
  expect(await outcomeOf(executionId)).toMatchObject({ result: 'done' });
  await Promise.all(patient.map((id) => tell(id, 'go')));
  for (const id of patient) expect(await outcomeOf(id)).toMatchObject({ result: 'SATISFIED false go' });
});

test.each([
  ['fail', ExecutionState.FAILED, EndReason.SUSPENSION_TIMEOUT],
  ['expire', ExecutionState.EXPIRED, EndReason.SUSPENSION_TIMEOUT],
  ['cancel', ExecutionState.CANCELED, EndReason.SUSPENSION_CANCELED],
] as const)(
  'a timeout that is to %s ends it, and the handler is not called again',
  async (onTimeout, state, reason) => {
    newLane();
    let calls = 0;
    await working({
      late: (context) => {
        calls++;
        return context.suspend({ condition: signal('go'), timeoutMs: 100, onTimeout });
      },
    });
    const { executionId } = await client.create({ type: 'late', lane });
    expect(await outcomeOf(executionId)).toMatchObject({ state, reason, attempt: 1 });
    expect(calls).toBe(1);
  },
);

test('more signals than a claim carries are all there', async () => {
  newLane();
  let signals = 0;
  await working({
    crowd: async (context) => {
      signals = (await context.suspend({ condition: count(150) })).signals.length;
      await context.sleep(100);
      return (await context.suspend({ condition: signal('go') })).signals.length;
    },
  });
  const { executionId } = await client.create({ type: 'crowd', lane });
  await parked(executionId);
  for (let n = 0; n < 150; n++) await tell(executionId, `${n}`);
  await tell(executionId, 'go');
  expect(await outcomeOf(executionId)).toMatchObject({ state: ExecutionState.SUCCEEDED, result: 1 });
  expect(signals).toBe(150);
});

test('children are waited for after waits for signals', async () => {
  newLane();
  const handlers: Record<string, Handler> = {
    parent: async (context) => {
      const first = said(await context.suspend({ condition: signal('go') }));
      if (!context.children) return context.waitForChildren([{ type: 'child', lane, name: 'c' }]);
      return [first, context.children.get('c')?.content.json()];
    },
    child: () => 'grown up',
  };
  await working(handlers);
  const { executionId } = await client.create({ type: 'parent', lane });
  await parked(executionId);
  await tell(executionId, 'go');
  expect(await outcomeOf(executionId)).toMatchObject({ attempt: 1, result: ['SATISFIED false go', 'grown up'] });
});

test('an attempt that is lost forgets its waits, and the next one waits anew', async () => {
  newLane();
  const keys: string[] = [];
  await working({
    careful: async (context) => {
      const { key, closed } = await context.waitpoint(`boss ${context.attemptNumber}`);
      if (!closed) keys.push(key);
      await context.suspend({ condition: signal('ok', { waitpoint: key }) });
      if (context.attemptNumber === 1) throw new Error('broken after the approval');
      return 'done';
    },
  });
  const { executionId } = await client.create({ type: 'careful', lane, retry: { initialBackoffMs: 10 } });
  for (const attempt of [1, 2]) {
    await eventually(() => keys.length === attempt);
    await parked(executionId);
    const target = { case: 'execution', value: { executionId, waitpointKey: `boss ${attempt}` } } as const;
    await client.engine.signalExecution({ target, name: 'ok' });
  }
  expect(await outcomeOf(executionId)).toMatchObject({ attempt: 2, result: 'done' });
});
