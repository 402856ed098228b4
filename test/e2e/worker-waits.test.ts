/** Waits in the middle of handlers: parked without a slot, gone on in any process, passed with what they brought. */
import { Code, ConnectError, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { AttemptKind } from '../../gen/tailrace/v1/attempt_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { SignalEffect, SignalSource } from '../../gen/tailrace/v1/signal_pb.js';
import { type Client, Content, flow } from '../../src/client/index.js';
import {
  allOf,
  anySignal,
  CanceledError,
  count,
  type Handler,
  type HandlerContext,
  type JoinedInputs,
  operatorOnly,
  type ReceivedSignal,
  ResumeCause,
  type SuspensionOutcome,
  signal,
  type Worker,
} from '../../src/worker/index.js';
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

const working = (handlers: Record<string, Handler>, options: Partial<WorkerOptions> = {}): Promise<Worker> =>
  place.work(lane, handlers, options);

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

const plain = ({ content, ...rest }: ReceivedSignal) => ({ ...rest, content: content.json() });
const said = ({ cause, signals, timedOut }: SuspensionOutcome) =>
  [ResumeCause[cause], timedOut, ...signals.map(({ name }) => name)].join(' ');

describe.each(['connect', 'grpc'] as const)('over %s', (transport) => {
  test('an approval comes back by its token, and the same attempt goes on', async () => {
    newLane();
    const contexts: HandlerContext[] = [];
    const tokens: string[] = [];
    const handler: Handler = async (context) => {
      contexts.push(context);
      const { token, state } = await context.waitpoint('boss', { expiryMs: 60_000 });
      if (state !== 'closed') tokens.push(token);
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
    let begun = false;
    const handler: Handler = async (context) => {
      begun = true;
      await new Promise((resolve) => context.signal.addEventListener('abort', resolve, { once: true }));
      thrown = await context.suspend({ condition: operatorOnly() }).catch((error) => error);
      throw thrown;
    };
    await working({ stubborn: handler }, { transport, leaseDurationMs: 6_000 });
    const { executionId } = await client.create({ type: 'stubborn', lane });
    // Not only claimed: a lease that is renewed before its handler begins would bring the request too early for it.
    await eventually(() => begun);
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

test('children are waited for between waits for signals, and stay there until there are others', async () => {
  newLane();
  const handlers: Record<string, Handler> = {
    parent: async (context) => {
      const pass = [said(await context.suspend({ condition: signal('go') }))];
      if (!context.children) return context.waitForChildren([{ type: 'child', lane, name: 'a', input: 1 }]);
      pass.push(said(await context.suspend({ condition: signal('on') })));
      if (context.children.get('a')) return context.waitForChildren([{ type: 'child', lane, name: 'b', input: 2 }]);
      await context.sleep(100);
      pass.push(said(await context.suspend({ condition: signal('home') })));
      return [...pass, ...[...context.children].map(({ name, content }) => `${name} ${content.json()}`)];
    },
    child: ({ input }) => Number(input.json()) * 10,
  };
  await working(handlers);
  const { executionId } = await client.create({ type: 'parent', lane });
  const suspension = async () => (await client.admin.listSuspendedExecutions({ lanes: [lane] })).suspensions[0];
  for (const [name, number] of [
    ['go', 1],
    ['on', 3],
    ['home', 6],
  ] as const) {
    await eventually(async () => (await suspension())?.suspensionNumber === number);
    expect(await tell(executionId, name)).toBe(SignalEffect.SATISFIED);
  }
  expect(await outcomeOf(executionId)).toMatchObject({
    attempt: 1,
    result: ['SATISFIED false go', 'SATISFIED false on', 'SATISFIED false home', 'b 20'],
  });
  const { executions } = await client.admin.listExecutions({ filter: { parentExecutionId: executionId } });
  expect(executions).toHaveLength(2);
});

test('a member of a flow has its inputs over its waits, until it waits for children', async () => {
  newLane();
  const seen: unknown[] = [];
  const handlers: Record<string, Handler> = {
    before: () => 'input',
    member: async (context) => {
      const names = ({ list }: JoinedInputs) => list.map(({ name }) => name).join();
      seen.push([names(context.inputs), context.children && names(context.children)]);
      for (let nap = 0; nap < 2; nap++) await context.sleep(100);
      if (!context.children) return context.waitForChildren([{ type: 'child', lane }]);
      await context.sleep(100);
      return 'done';
    },
    child: () => 'grown up',
  };
  await working(handlers);
  const { ids } = await client.createFlow(
    flow()
      .member('before', { type: 'before', lane })
      .member('member', { type: 'member', lane })
      .chain('before', 'member'),
  );
  expect(await outcomeOf(ids.member)).toMatchObject({ attempt: 1, result: 'done' });
  const [inputs, children] = [
    ['before', undefined],
    ['', 'child'],
  ];
  expect(seen).toEqual([inputs, inputs, inputs, children, children]);
});

describe.each(['is drained', 'fails'] as const)('an attempt that %s after an approval', (end) => {
  test.each([[['boss']], [['boss', 'auditor']]])('is followed by one that passes it: %j', async (deciders) => {
    newLane();
    const asked: string[] = [];
    const passes: unknown[] = [];
    let finish: () => void = () => {};
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const approved = async (context: HandlerContext) => {
      const states: string[] = [];
      const outcomes: SuspensionOutcome[] = [];
      for (const key of deciders) {
        const { state } = await context.waitpoint(key);
        states.push(state);
        if (state === 'open') asked.push(key);
        outcomes.push(await context.suspend({ condition: signal('ok', { waitpoint: key }), reason: 'approval' }));
      }
      passes.push(outcomes.map(({ signals, ...outcome }) => ({ ...outcome, signals: signals.map(plain) })));
      return states;
    };
    const first = await working(
      {
        refund: async (context) => {
          await approved(context);
          const stopped = new Promise((_, reject) =>
            context.signal.addEventListener('abort', () => reject(context.signal.reason)),
          );
          await Promise.race([finished, stopped]);
          throw new Error('broken after the approval');
        },
      },
      { drainMs: end === 'fails' ? BOUND.timeoutMs : 0 },
    );
    const { executionId } = await client.create({ type: 'refund', lane, retry: { initialBackoffMs: 10 } });
    for (const [index, waitpointKey] of deciders.entries()) {
      await eventually(() => asked.length === index + 1);
      await parked(executionId);
      const target = { case: 'execution', value: { executionId, waitpointKey } } as const;
      const { effect } = await client.engine.signalExecution({ target, name: 'ok', sourceId: `the ${waitpointKey}` });
      expect(effect).toBe(SignalEffect.SATISFIED);
    }
    await eventually(() => passes.length === 1);
    const stopping = first.stop();
    if (end === 'fails') finish();
    await stopping;

    let kind: AttemptKind | undefined;
    await working({
      refund: async (context) => {
        kind = context.attemptKind;
        return await approved(context);
      },
    });
    expect(await outcomeOf(executionId)).toMatchObject({ attempt: 2, result: deciders.map(() => 'answered') });
    expect(kind).toBe(end === 'fails' ? AttemptKind.RETRY : AttemptKind.CONTINUATION);
    expect(asked).toEqual(deciders);
    expect(passes[0]).toMatchObject(
      deciders.map((key) => ({
        cause: ResumeCause.SATISFIED,
        timedOut: false,
        signals: [{ name: 'ok', sourceId: `the ${key}`, waitpoint: key }],
      })),
    );
    expect(passes[1]).toEqual(passes[0]);
  });
});

test('what a timeout ended is waited for again, in its place', async () => {
  newLane();
  const passes: string[][] = [];
  // Before anybody works: a signal that its wait has to wait for makes one call of the handler more.
  const { executionId } = await client.create({ type: 'slow', lane, retry: { initialBackoffMs: 10 } });
  await tell(executionId, 'first');
  await tell(executionId, 'last');
  await working({
    slow: async (context) => {
      const pass = [`attempt ${context.attemptNumber}`];
      passes.push(pass);
      pass.push(said(await context.suspend({ condition: signal('first') })));
      pass.push(said(await context.suspend({ condition: signal('never'), timeoutMs: 100, onTimeout: 'resume' })));
      pass.push(said(await context.suspend({ condition: signal('last') })));
      if (context.attemptNumber === 1) throw new Error('broken');
      return pass;
    },
  });
  const all = ['SATISFIED false first', 'TIMEOUT true timeout', 'SATISFIED false last'];
  expect(await outcomeOf(executionId)).toMatchObject({ attempt: 2, result: ['attempt 2', ...all] });
  const calls = [all.slice(0, 1), all];
  expect(passes).toEqual([1, 2].flatMap((attempt) => calls.map((brought) => [`attempt ${attempt}`, ...brought])));
});
