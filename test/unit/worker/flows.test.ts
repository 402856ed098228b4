/** What handlers of a flow's members are given and can ask for, and how slots and hand-over get along. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import { ClaimNextMode } from '../../../gen/tailrace/v1/engine_service_pb.js';
import { ErrorDetailSchema } from '../../../gen/tailrace/v1/error_pb.js';
import { JoinMode, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import type { ClaimSchema } from '../../../gen/tailrace/v1/lease_pb.js';
import { ResumeCause } from '../../../gen/tailrace/v1/signal_pb.js';
import { toPayload } from '../../../src/client/content.js';
import { ContentError, type Handler, type HandlerContext, Worker } from '../../../src/worker/index.js';
import type { WorkerOptions } from '../../../src/worker/options.js';
import { claimOf } from './claims.js';
import { FakeEngine } from './fake-engine.js';

let engine: FakeEngine;
let worker: Worker;
beforeEach(() => {
  engine = new FakeEngine();
});
afterEach(() => worker.stop());

async function started(handler: Handler, options: Partial<WorkerOptions> = {}): Promise<Worker> {
  const { transport } = engine;
  worker = new Worker({ url: '', transport, log: () => {}, drainMs: 0, ...options }).handle('test', handler);
  await worker.start();
  return worker;
}

async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; !holds(); turn++) {
    if (turn > 20_000) throw new Error('it did not come about');
    await new Promise(setImmediate);
  }
}

const memberOf = (id: string) => claimOf(id, { flowId: 'f' });

describe('joined inputs', () => {
  const joinedInputs: MessageInitShape<typeof ClaimSchema>['joinedInputs'] = [
    { name: 'a', index: 0, outcome: SlotOutcome.OK, executionId: 'e-a', type: 't', payload: toPayload({ n: 1 }) ?? {} },
    { name: 'b', index: 1, outcome: SlotOutcome.OK, executionId: 'e-b', payloadOmitted: true },
    { name: 'c', index: 2, outcome: SlotOutcome.FAILED, failure: { message: 'broken' }, source: 's' },
    { name: 'd', index: 3, outcome: SlotOutcome.SKIPPED },
    { name: 'e', index: 4 },
  ];

  /** What a handler with these makes of them. */
  async function seen<T>(look: (context: HandlerContext) => Promise<T> | T, more = {}): Promise<T> {
    let made: { value: T } | undefined;
    await started(async (context) => {
      made = { value: await look(context) };
    });
    engine.offer(claimOf('e1', { flowId: 'f', joinedInputs: joinedInputs ?? [], ...more }));
    await until(() => made !== undefined);
    return (made as { value: T }).value;
  }

  test('are there by name and in order, with how each ended', async () => {
    const inputs = await seen((context) => context.inputs);
    expect([...inputs].map(({ name, outcome }) => `${name} ${outcome}`)).toEqual([
      'a ok',
      'b ok',
      'c failed',
      'd skipped',
      'e unfilled',
    ]);
    expect(inputs.get('a')?.content.json()).toEqual({ n: 1 });
    expect(inputs.get('a')).toMatchObject({ executionId: 'e-a', type: 't', omitted: false, failure: undefined });
    expect(inputs.get('c')).toMatchObject({ failure: { message: 'broken' }, source: 's', index: 2 });
    expect(inputs.get('d')?.content.empty).toBe(true);
    expect(inputs.get('z')).toBeUndefined();
  });

  test('left out for their size are read when asked for, the others are there', async () => {
    const [whole, there] = await seen(async ({ inputs }) => [
      (await inputs.read('b')).json(),
      (await inputs.read('a')).json(),
    ]);
    expect([whole, there]).toEqual(['all of e-b', { n: 1 }]);
    expect(engine.reads).toEqual(['e-b']);
  });

  test('left out are never taken for empty', async () => {
    const thrown = await seen(({ inputs }) => {
      try {
        return inputs.get('b')?.content;
      } catch (error) {
        return error;
      }
    });
    expect(thrown).toBeInstanceOf(ContentError);
  });

  test('that nobody declared are an error', async () => {
    const thrown = await seen(({ inputs }) => inputs.read('z').catch((error: Error) => error.message));
    expect(thrown).toMatch(/no input named z/);
  });

  test('are told with the flow and the parent', async () => {
    const context = await seen((given) => given, { parentExecutionId: 'p' });
    expect(context).toMatchObject({ flowId: 'f', parentExecutionId: 'p', children: undefined, resume: undefined });
  });

  test('after a wait are what the children left', async () => {
    const resume = {
      joinsChildren: true,
      cause: ResumeCause.CHILDREN,
      suspensionNumber: 2,
      suspendTime: timestampFromMs(1_000),
      resumeTime: timestampFromMs(3_000),
    };
    const context = await seen((given) => given, { resume });
    expect(context.children?.get('a')?.content.json()).toEqual({ n: 1 });
    expect(context.inputs.list).toEqual([]);
    expect(context.resume).toEqual({
      cause: ResumeCause.CHILDREN,
      number: 2,
      suspended: new Date(1_000),
      resumed: new Date(3_000),
    });
    expect(engine.reads).toEqual([]);
  });

  test.each([ResumeCause.SATISFIED, ResumeCause.BUDGET])('are still that after a later wait', async (cause) => {
    const context = await seen((given) => given, { resume: { cause, suspensionNumber: 2, joinsChildren: true } });
    expect(context.children?.get('a')?.content.json()).toEqual({ n: 1 });
    expect(context.inputs.list).toEqual([]);
  });

  test('are those of upstreams after other waits', async () => {
    const context = await seen((given) => given, { resume: { cause: ResumeCause.SATISFIED, suspensionNumber: 2 } });
    expect(context.children).toBeUndefined();
    expect(context.inputs.get('a')?.content.json()).toEqual({ n: 1 });
  });
});

describe('spawned executions', () => {
  test('go with the completion', async () => {
    await started((context) => {
      context.spawn({ type: 'child', input: 1, tags: { a: 'b' } });
      context.spawn({ type: 'other', optionalInFlow: true });
      return 'done';
    });
    engine.offer(claimOf('e1'));
    await until(() => engine.completions.length === 1);
    expect(engine.completions[0]).toMatchObject({
      result: toPayload('done'),
      children: [
        { type: 'child', input: toPayload(1), tags: { a: 'b' }, requestId: '', flowId: '' },
        { type: 'other', optionalInFlow: true },
      ],
    });
  });

  test('are not made when it fails', async () => {
    await started((context) => {
      context.spawn({ type: 'child' });
      throw new Error('after all');
    });
    engine.offer(claimOf('e1'));
    await until(() => engine.failures.length === 1);
    expect(engine.completions).toEqual([]);
  });
});

describe('a wait for children', () => {
  test('gives the slot and the lease up', async () => {
    let calls = 0;
    await started(
      (context) => {
        calls++;
        if (context.children) return 'joined';
        return context.waitForChildren([{ type: 'child', name: 'one' }], { mode: 'any', timeoutMs: 9_000 });
      },
      { slots: 1 },
    );
    engine.offer(claimOf('e1'));
    await until(() => engine.waits.length === 1);
    expect(engine.waits[0]).toMatchObject({
      lease: { executionId: 'e1', fencingToken: 1n },
      children: [{ name: 'one', execution: { type: 'child' } }],
      policy: { mode: JoinMode.ANY, timeout: { seconds: 9n } },
    });
    engine.offer(
      claimOf('e1', { resume: { cause: ResumeCause.CHILDREN, joinsChildren: true, suspensionNumber: 1 } }, 2n),
    );
    await until(() => engine.completions.length === 1);
    expect(engine.completions[0]).toMatchObject({ lease: { fencingToken: 2n }, result: toPayload('joined') });
    expect(calls).toBe(2);
  });

  test.each<[string, Handler, RegExp]>([
    ['that is not returned', (context) => void context.waitForChildren([{ type: 'c' }]), /returned something else/],
    [
      'after spawning',
      (context) => {
        context.spawn({ type: 'c' });
        return context.waitForChildren([{ type: 'c' }]);
      },
      /spawn after the wait/,
    ],
    ['for nobody', (context) => context.waitForChildren([]), /one child/],
  ])('%s is a failure that says so', async (_, handler, message) => {
    await started(handler);
    engine.offer(claimOf('e1'));
    await until(() => engine.failures.length === 1);
    expect(engine.failures[0]?.failure?.message).toMatch(message);
    expect([engine.waits, engine.completions]).toEqual([[], []]);
  });

  test('that is not returned is not tried again', async () => {
    await started((context) => void context.waitForChildren([{ type: 'c' }]));
    engine.offer(claimOf('e1'));
    await until(() => engine.failures.length === 1);
    expect(engine.failures[0]?.failure?.failureClass).toBe(FailureClass.INVALID_RESULT);
  });
});

describe('eager hand-over', () => {
  test('a completion of a member asks for what it releases, and runs it', async () => {
    const ran: string[] = [];
    engine.onComplete = ({ completions }) => {
      const next = Number(completions[0]?.lease?.executionId) + 1;
      return { claims: next < 5 ? [memberOf(String(next))] : [] };
    };
    await started((context) => ran.push(context.executionId), { lanes: { a: 2 }, capabilities: ['gpu'] });
    await until(() => engine.claimCalls === 1);
    engine.offer(memberOf('0'));
    await until(() => engine.completions.length === 5);
    expect(ran).toEqual(['0', '1', '2', '3', '4']);
    expect(engine.completeCalls[0]?.claimNext).toMatchObject({
      mode: ClaimNextMode.SUCCESSORS,
      worker: { name: 'worker', instanceId: worker.instanceId },
      lanes: [{ lane: 'a', weight: 2 }],
      types: ['test'],
      capabilities: ['gpu'],
      maxExecutions: 1,
      leaseDuration: { seconds: 6n },
    });
    // The first came to the claim that waited; the four hops cost one call each.
    expect([engine.claimCalls, engine.completeCalls.length]).toEqual([2, 5]);
  });

  test('nothing is asked for outside of flows, or when it is turned off', async () => {
    await started(() => 'done');
    engine.offer(claimOf('e1'));
    await until(() => engine.completions.length === 1);
    await worker.stop();
    await started(() => 'done', { eagerHandOver: false });
    engine.offer(memberOf('e2'));
    await until(() => engine.completions.length === 2);
    expect(engine.completeCalls.map(({ claimNext }) => claimNext)).toEqual([undefined, undefined]);
  });

  test('never more run than there are slots, whatever is handed over and claimed', async () => {
    let running = 0;
    let most = 0;
    let ran = 0;
    engine.onComplete = ({ claimNext }) => {
      const claims = Array.from({ length: claimNext?.maxExecutions ?? 0 }, (_, i) => memberOf(`${ran}-${i}-next`));
      engine.offer(memberOf(`${ran}-more`));
      return { claims: ran < 300 ? claims : [] };
    };
    await started(
      async () => {
        running++;
        ran++;
        most = Math.max(most, running);
        for (let turn = 0; turn < ran % 5; turn++) await new Promise(setImmediate);
        running--;
      },
      { slots: 3 },
    );
    engine.offer(...Array.from({ length: 10 }, (_, i) => memberOf(`first-${i}`)));
    await until(() => ran > 300);
    expect(most).toBe(3);
  });

  test('the only slot is kept for the successor, and free again when none comes', async () => {
    const claimedBefore: number[] = [];
    engine.onComplete = async () => {
      for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
      claimedBefore.push(engine.claimCalls);
      return {};
    };
    await started(() => 'done', { slots: 1 });
    engine.offer(memberOf('e1'));
    await until(() => engine.completions.length === 1);
    engine.offer(memberOf('e2'));
    await until(() => engine.completions.length === 2);
    expect(claimedBefore[0]).toBe(1);
  });

  test('a slot whose completion is refused is free for others', async () => {
    const ran: string[] = [];
    await started((context) => ran.push(context.executionId), { slots: 1 });
    engine.onComplete = () => {
      engine.onComplete = () => ({});
      const detail = { desc: ErrorDetailSchema, value: { reason: 'INVALID_FIELD' } };
      throw new ConnectError('refused', Code.InvalidArgument, undefined, [detail]);
    };
    engine.offer(memberOf('e1'), memberOf('e2'));
    await until(() => ran.length === 2);
    await until(() => engine.failures.length === 1);
  });

  test('a worker that stops asks for nothing more', async () => {
    let letGo = () => {};
    await started(() => new Promise<void>((resolve) => (letGo = resolve)), { drainMs: 5_000 });
    engine.offer(memberOf('e1'));
    await until(() => engine.claimCalls === 2);
    const stopped = worker.stop();
    letGo();
    await stopped;
    expect(engine.completeCalls.map(({ claimNext }) => claimNext)).toEqual([undefined]);
  });

  test('what is handed over to a worker that has begun to stop is given back', async () => {
    const ran: string[] = [];
    let stopped: Promise<void> | undefined;
    engine.onComplete = () => {
      stopped = worker.stop();
      return { claims: [memberOf('e2')] };
    };
    await started((context) => ran.push(context.executionId));
    engine.offer(memberOf('e1'));
    await until(() => stopped !== undefined);
    await stopped;
    expect([ran, engine.released]).toEqual([['e1'], ['e2']]);
  });

  test('that it should drain is told with the answer', async () => {
    engine.onComplete = () => ({ drain: true });
    await started(() => 'done');
    engine.offer(memberOf('e1'));
    await worker.stopped;
    expect(engine.completions).toHaveLength(1);
  });
});
