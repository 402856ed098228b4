/** Flows as workers see them: chains over workers that die, inputs of any size, children, eager hand-over. */
import type { Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { type Client, Content, flow } from '../../src/client/index.js';
import { type Handler, type HandlerContext, ResumeCause, type Worker } from '../../src/worker/index.js';
import type { WorkerOptions } from '../../src/worker/options.js';
import { eventually } from '../support/eventually.js';
import type { TestTailrace } from '../support/tailrace.js';
import { WorkerProcess } from '../support/worker-process.js';
import { Workplace } from '../support/workplace.js';

const BOUND = { timeoutMs: 60_000 };
const LEASE_MS = 8_000;
const HOPS = Array.from({ length: 10 }, (_, hop) => `hop ${hop}`);

let place: Workplace;
let tailrace: TestTailrace;
let client: Client;
let lanes = 0;
let lane: string;
beforeAll(async () => {
  place = await Workplace.start();
  ({ tailrace, client } = place);
});
afterEach(() => place.endOfWork());
afterAll(() => place.stop());

function newLane(): void {
  lane = `flows-${lanes++}`;
}

const working = (handlers: Record<string, Handler>, options: Partial<WorkerOptions> = {}): Promise<Worker> =>
  place.work(lane, handlers, options);

async function outcomesOf(ids: Readonly<Record<string, string>>) {
  const { executions } = await client.awaitExecutions(Object.values(ids), BOUND);
  return executions.map(({ outcome }) => outcome);
}

const chain = (type: string) =>
  flow({ name: 'chain' })
    .members(HOPS.map((hop) => [hop, { type, lane }] as const))
    .chain(...HOPS);

/** Counts the calls of a worker, by method. */
function counted() {
  const calls = new Map<string, number>();
  const count: Interceptor = (next) => (request) => {
    calls.set(request.method.name, (calls.get(request.method.name) ?? 0) + 1);
    return next(request);
  };
  return {
    calls,
    transport: createConnectTransport({ baseUrl: tailrace.url, httpVersion: '2', interceptors: [count] }),
  };
}

describe('a chain', () => {
  test('goes on when the worker that holds its fourth member is killed', async () => {
    newLane();
    const victim = new WorkerProcess(tailrace.url, 'connect', lane, LEASE_MS);
    try {
      await victim.says('started');
      const { ids } = await client.createFlow(chain('hold'));
      for (const [index, hop] of HOPS.slice(0, 4).entries()) {
        expect((await victim.says('claimed', index + 1))['claimed']).toBe(ids[hop]);
        if (index < 3) victim.finish(hop);
      }
      const seen: string[] = [];
      await working(
        {
          hold: ({ inputs, executionId }) => {
            const [before] = inputs.list;
            seen.push(`${before?.name}: ${before?.content.json()}`);
            return HOPS.find((hop) => ids[hop] === executionId);
          },
        },
        { leaseDurationMs: LEASE_MS },
      );
      await victim.kill();
      const outcomes = await outcomesOf(ids);
      expect(outcomes.map((outcome) => outcome?.state)).toEqual(HOPS.map(() => ExecutionState.SUCCEEDED));
      expect(outcomes.map((outcome) => outcome?.attemptNumber)).toEqual([1, 1, 1, 2, 1, 1, 1, 1, 1, 1]);
      expect(seen).toEqual(HOPS.slice(2, 9).map((hop) => `${hop}: ${hop}`));
    } finally {
      await victim.kill();
    }
  });

  test('costs one call per hop when its successors are handed over', async () => {
    newLane();
    const { calls, transport } = counted();
    const ran: string[] = [];
    // Whose lease is long enough never to be renewed.
    const patient = { transport, leaseDurationMs: 60_000 };
    await working({ hop: ({ executionId }) => void ran.push(executionId) }, patient);
    const { ids } = await client.createFlow(chain('hop'));
    await outcomesOf(ids);
    expect(ran).toEqual(HOPS.map((hop) => ids[hop]));
    expect(calls.get('CompleteExecutions')).toBe(HOPS.length);
    // One that brought the first member, and one that waits for what comes after the chain.
    expect(calls.get('ClaimExecutions')).toBeLessThanOrEqual(2);
    expect(calls.get('RenewLeases') ?? 0).toBe(0);
  });

  test('goes from worker to worker without it', async () => {
    newLane();
    const { calls, transport } = counted();
    await working({ hop: () => 'done' }, { transport, eagerHandOver: false });
    await outcomesOf((await client.createFlow(chain('hop'))).ids);
    expect(calls.get('ClaimExecutions')).toBeGreaterThanOrEqual(HOPS.length);
  });

  test('with one slot runs one at a time, also beside other work', async () => {
    newLane();
    let running = 0;
    let most = 0;
    const handler = async () => {
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running--;
    };
    await working({ hop: handler }, { slots: 1 });
    const chains = await Promise.all([1, 2, 3].map(() => client.createFlow(chain('hop'))));
    for (const { ids } of chains) await outcomesOf(ids);
    expect(most).toBe(1);
  });
});

describe.each(['connect', 'grpc'] as const)('over %s', (transport) => {
  test('inputs tell how each upstream ended, and what it left', async () => {
    newLane();
    let context: HandlerContext | undefined;
    const handlers = {
      good: () => ({ n: 1 }),
      bad: () => {
        throw new Error('broken');
      },
      last: (given: HandlerContext) => {
        context = given;
      },
    };
    await working(handlers, { transport });
    const { flowId, ids } = await client.createFlow(
      flow()
        .member('good', { type: 'good', lane })
        .member('bad', { type: 'bad', lane, retry: { maxAttempts: 1 } })
        .member('skipped', { type: 'good', lane })
        .member('last', { type: 'last', lane })
        .edge('bad', 'skipped')
        .edge('good', 'last', { name: 'the good one' })
        .fanIn(['bad', 'skipped'], 'last', { optional: true }),
    );
    expect((await outcomesOf({ last: ids.last }))[0]?.state).toBe(ExecutionState.SUCCEEDED);
    expect(context?.flowId).toBe(flowId);
    expect(context?.inputs.get('the good one')).toMatchObject({ outcome: 'ok', type: 'good', executionId: ids.good });
    expect(context?.inputs.get('the good one')?.content.json()).toEqual({ n: 1 });
    expect(context?.inputs.get('bad')).toMatchObject({ outcome: 'failed', failure: { message: 'broken' } });
    expect(context?.inputs.get('skipped')).toMatchObject({ outcome: 'skipped' });
  });

  test('a large result is read by reference', async () => {
    newLane();
    const large = 'x'.repeat(200 * 2 ** 10);
    let omitted: boolean | undefined;
    await working(
      {
        large: () => large,
        length: async ({ inputs }) => {
          omitted = inputs.get('large')?.omitted;
          return (await inputs.read('large')).json<string>()?.length;
        },
      },
      { transport },
    );
    const asked = flow().member('large', { type: 'large', lane }).member('length', { type: 'length', lane });
    const { ids } = await client.createFlow(asked.chain('large', 'length'));
    const [outcome] = await outcomesOf({ length: ids.length });
    expect(new Content(outcome?.result).json()).toBe(large.length);
    expect(omitted).toBe(true);
  });

  test('children are waited for without a slot, and their parent goes on with the same attempt', async () => {
    newLane();
    const contexts: HandlerContext[] = [];
    let note: (context: HandlerContext) => void = () => {};
    const noted = new Promise<HandlerContext>((resolve) => {
      note = resolve;
    });
    const handlers: Record<string, Handler> = {
      parent: (context) => {
        contexts.push(context);
        if (!context.children) {
          const child = { type: 'child', lane };
          return context.waitForChildren([
            { ...child, name: 'a', input: 1 },
            { ...child, name: 'b', input: 2 },
            { ...child, name: 'c', input: 'not a number', optional: true, retry: { maxAttempts: 1 } },
          ]);
        }
        context.spawn({ type: 'note', lane, input: 'after it' });
        const [a, b, c] = context.children.list;
        return [a?.content.json(), b?.content.json(), c?.failure?.message];
      },
      child: ({ input }) => {
        if (typeof input.json() !== 'number') throw new Error('no number');
        return Number(input.json()) * 10;
      },
      note: (context) => note(context),
    };
    await working(handlers, { transport, slots: 1 });
    const { flowId, ids } = await client.createFlow(flow().member('parent', { type: 'parent', lane }));
    const [outcome] = await outcomesOf(ids);
    expect(new Content(outcome?.result).json()).toEqual([10, 20, 'no number']);
    expect(outcome?.attemptNumber).toBe(1);
    const [before, after] = contexts;
    expect(after).toMatchObject({ attemptNumber: 1, resume: { cause: ResumeCause.CHILDREN, number: 1 } });
    expect(after?.fencingToken).toBeGreaterThan(before?.fencingToken ?? 0n);
    expect(after?.resume?.resumed?.getTime()).toBeGreaterThanOrEqual(after?.resume?.suspended?.getTime() ?? Infinity);
    expect(await noted).toMatchObject({ flowId, parentExecutionId: ids.parent });
  });

  test('a handler that would wait after it was told to stop ends canceled', async () => {
    newLane();
    let begun = false;
    const handlers: Record<string, Handler> = {
      parent: async (context) => {
        begun = true;
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve, { once: true }));
        return context.waitForChildren([{ type: 'child', lane }]);
      },
      child: () => 'nobody waits for it',
    };
    await working(handlers, { transport, leaseDurationMs: LEASE_MS });
    const { executionId } = await client.create({ type: 'parent', lane });
    // Not only claimed: a lease that is renewed before its handler begins would bring the request too early for it.
    await eventually(() => begun);
    await client.cancel(executionId, { reason: 'enough' });
    const { outcome } = await client.awaitExecution(executionId, BOUND);
    expect(outcome).toMatchObject({ state: ExecutionState.CANCELED, attemptNumber: 1 });
    const { executions } = await client.admin.listExecutions({ filter: { lanes: [lane] } });
    expect(executions).toHaveLength(1);
  });

  test('a wait that cannot succeed any more shows which child failed', async () => {
    newLane();
    const handlers: Record<string, Handler> = {
      parent: (context) => {
        if (context.children) return context.children.get('bad')?.failure?.message;
        return context.waitForChildren([{ type: 'bad', lane, retry: { maxAttempts: 1 } }]);
      },
      bad: () => {
        throw new Error('broken');
      },
    };
    await working(handlers, { transport });
    const { executionId } = await client.create({ type: 'parent', lane });
    const { outcome } = await client.awaitExecution(executionId, BOUND);
    expect(outcome?.state).toBe(ExecutionState.SUCCEEDED);
    expect(new Content(outcome?.result).json()).toBe('broken');
  });
});

test('of three, the first is enough: the others are canceled, and their handlers told', async () => {
  newLane();
  const told: string[] = [];
  let others = 0;
  const handlers: Record<string, Handler> = {
    guess: async ({ input, signal }) => {
      if (input.json() === 'first') {
        await eventually(() => others === 2);
        return 'first';
      }
      others++;
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          told.push(signal.reason.name);
          reject(signal.reason);
        });
      });
    },
    choose: ({ inputs }) => inputs.list.map(({ outcome }) => outcome),
  };
  await working(handlers, { leaseDurationMs: LEASE_MS });
  const { ids } = await client.createFlow(
    flow()
      .member('slow', { type: 'guess', lane, input: 'slow' })
      .member('slower', { type: 'guess', lane, input: 'slower' })
      .member('first', { type: 'guess', lane, input: 'first' })
      .member('choose', { type: 'choose', lane })
      .fanIn(['slow', 'slower', 'first'], 'choose')
      .join('choose', { quorum: 1, onSatisfied: 'cancel_rest' }),
  );
  const outcomes = await outcomesOf(ids);
  expect(
    Object.keys(ids)
      .map((name, index) => `${name} ${ExecutionState[outcomes[index]?.state ?? 0]}`)
      .sort(),
  ).toEqual(['choose SUCCEEDED', 'first SUCCEEDED', 'slow CANCELED', 'slower CANCELED']);
  // They are canceled at once; their handlers are told when their leases are to be renewed.
  await eventually(() => told.length === 2);
  expect(told).toEqual(['LeaseLostError', 'LeaseLostError']);
  const [chosen] = await outcomesOf({ choose: ids.choose });
  expect(new Content(chosen?.result).json()).toEqual(['unfilled', 'unfilled', 'ok']);
});
