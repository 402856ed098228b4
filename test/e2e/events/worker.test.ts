/** Handlers of events against a real server: chains, failures with their events, batches, and what fits no schema. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { Client, type NewEvent } from '../../../src/client/index.js';
import { type FailureDescription, type ReceivedEvent, Worker } from '../../../src/worker/index.js';
import type { WorkerOptions } from '../../../src/worker/options.js';
import { eventually } from '../../support/eventually.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

const described = z.object({ execution_id: z.string(), reason: z.string(), message: z.string(), attempts: z.number() });
const events = {
  'order.placed': z.object({ order: z.string(), pieces: z.number().default(1) }),
  'order.paid': z.object({ order: z.string() }),
  'order.refused': described,
  'order.given-up': z.object({ order: z.string() }),
  'line.opened': z.object({ line: z.number() }),
  'line.picked': z.object({ line: z.number() }),
  'line.packed': z.object({ line: z.number(), weight: z.number() }),
  'account.used': z.object({ by: z.string() }),
};
type Events = typeof events;

const BOUND = { timeoutMs: 20_000 };
let tailrace: TestTailrace;
let client: Client<Events>;
let workers: Worker<Events>[] = [];
beforeAll(async () => {
  tailrace = await startTailrace();
  client = new Client({ url: tailrace.url, events });
});
afterEach(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  workers = [];
  for (const { spec } of await client.subscriptions.list()) await client.subscriptions.delete(spec?.name ?? '');
});
afterAll(async () => {
  client.close();
  await tailrace.stop();
});

function newWorker(lane: string, options: Partial<WorkerOptions> = {}): Worker<Events> {
  const worker = new Worker({ url: tailrace.url, lanes: [lane], log: () => {}, drainMs: 0, ...options, events });
  workers.push(worker);
  return worker;
}

async function publish(event: NewEvent<Events>): Promise<string> {
  const { flowId } = await client.publish(event);
  return flowId;
}

/** Every event of a flow once it is settled, as `type payload`. */
async function eventsOf(flowId: string): Promise<string[]> {
  await client.awaitFlow(flowId, { until: 'settled', ...BOUND });
  const { events: found } = await client.admin.listEvents({ flowId, includePayloads: true });
  return found.map(({ type, payload }) => `${type} ${payload?.body.case === 'text' ? payload.body.value : ''}`).sort();
}

test('an event becomes an execution, whose events become others, each knowing where it comes from', async () => {
  const seen: ReceivedEvent<Events, 'order.placed' | 'order.paid'>[] = [];
  const worker = newWorker('chain')
    .on('order.placed', (event) => {
      seen.push(event);
      return {
        result: event.payload.pieces,
        events: [{ type: 'order.paid', payload: { order: event.payload.order } }],
      };
    })
    .on('order.*', (event) => void (event.type === 'order.paid' && seen.push(event)), { type: 'log' });
  await worker.start();
  const { eventId, flowId } = await client.publish({ type: 'order.placed', payload: { order: 'a' }, tags: { t: 'v' } });
  expect(await eventsOf(flowId)).toEqual(['order.paid {"order":"a"}', 'order.placed {"order":"a"}']);
  expect(seen).toMatchObject([
    { type: 'order.placed', eventId, flowId, hops: 0, payload: { order: 'a', pieces: 1 }, tags: { t: 'v' } },
    { type: 'order.paid', causeEventId: eventId, flowId, hops: 1, payload: { order: 'a' } },
  ]);
  const { executions } = await client.admin.listExecutions({ filter: { lanes: ['chain'], flowId } });
  expect(executions.map(({ type, state }) => `${type} ${ExecutionState[state]}`).sort()).toEqual([
    'log SUCCEEDED',
    'log SUCCEEDED',
    'order.placed SUCCEEDED',
  ]);
});

test('a worker that starts again leaves its subscription as it is; one that says something else changes it', async () => {
  const version = async (name: string) => (await client.subscriptions.get(name))?.version;
  const react = () => {};
  for (let start = 0; start < 2; start++) await newWorker('again').on('order.paid', react).start();
  expect(await version('again/order.paid')).toBe(1n);
  await newWorker('again').on('order.paid', react, { priority: 5 }).start();
  expect(await version('again/order.paid')).toBe(2n);

  const byHand = { name: 'by hand', events: ['order.*', 'line.packed'], type: 'any', lane: 'again' } as const;
  const { subscription, warnings } = await client.subscriptions.put({
    ...byHand,
    where: { payload: { '/order': 'a' } },
  });
  expect({ version: subscription?.version, warnings }).toEqual({ version: 1n, warnings: [] });
  await expect(client.subscriptions.put(byHand, { expectedVersion: 7n })).rejects.toMatchObject({
    reason: 'VERSION_CONFLICT',
  });
  const names = async (eventType: string) =>
    (await client.subscriptions.list({ lane: 'again', eventType })).map(({ spec }) => spec?.name);
  expect(await names('order.paid')).toEqual(['again/order.paid', 'by hand']);
  expect(await names('line.packed')).toEqual(['by hand']);
  expect([await client.subscriptions.delete('by hand'), await client.subscriptions.delete('by hand')]).toEqual([
    true,
    false,
  ]);
});

test('what is given up publishes what was declared for it, or what its handler says; nothing else of it is published', async () => {
  const seen: FailureDescription['message'][] = [];
  const worker = newWorker('failing', { slots: 1 })
    .on(
      'order.placed',
      ({ payload: { order } }, context) => {
        context.emit({ type: 'order.paid', payload: { order } });
        if (order === 'talks') context.emitOnFailure({ type: 'order.given-up', payload: { order } });
        throw new Error(`${order} is broken`);
      },
      {
        retry: { maxAttempts: 2, initialBackoffMs: 10 },
        failureEvents: [
          { type: 'order.refused' },
          { type: 'order.given-up', payload: { order: 'no' }, reasons: ['ttl'] },
        ],
      },
    )
    .on('order.refused', ({ payload: { reason, message, attempts } }) => {
      seen.push(`${reason} after ${attempts}: ${message}`);
    });
  await worker.start();
  const [silent, talks] = await Promise.all(
    ['silent', 'talks'].map((order) => publish({ type: 'order.placed', payload: { order } })),
  );
  expect((await eventsOf(silent ?? '')).map((event) => event.split(' ')[0])).toEqual(['order.placed', 'order.refused']);
  expect(await eventsOf(talks ?? '')).toEqual(['order.given-up {"order":"talks"}', 'order.placed {"order":"talks"}']);
  expect(seen).toEqual(['RETRIES_EXHAUSTED after 2: silent is broken']);
});

test('a batch is joined over two hops, by index, with the member that failed among the others', async () => {
  let members: string[] = [];
  const worker = newWorker('lines')
    .on('order.placed', ({ payload }, context) =>
      context.emitBatch(
        Array.from({ length: payload.pieces }, (_, line) => ({ type: 'line.opened', payload: { line } })),
      ),
    )
    .on('line.opened', ({ payload: { line } }) => ({ type: 'line.picked', payload: { line } }))
    .on(
      'line.picked',
      ({ payload: { line } }) => {
        if (line === 1) throw new Error('it broke');
        return { type: 'line.packed', payload: { line, weight: line * 10 } };
      },
      { retry: { maxAttempts: 1 } },
    )
    .join(
      'line.packed',
      (packed) => {
        members = packed.map(({ index, outcome, payload }) => `${index} ${outcome} ${payload?.weight}`);
        return { type: 'order.paid', payload: { order: 'all of it' } };
      },
      { quorum: 3 },
    );
  await worker.start();
  const flowId = await publish({ type: 'order.placed', payload: { order: 'a', pieces: 4 } });
  expect(await eventsOf(flowId)).toContain('order.paid {"order":"all of it"}');
  expect(members).toEqual(['0 ok 0', expect.stringMatching(/^1 (failed|unfilled) undefined$/), '2 ok 20', '3 ok 30']);
});

test('an event that does not fit the schema of its type is a dead letter at once', async () => {
  let called = false;
  await newWorker('strict')
    .on('order.placed', () => {
      called = true;
    })
    .start();
  await client.engine.publishEvents({
    events: [
      { type: 'order.placed', payload: { body: { case: 'json', value: { kind: { case: 'numberValue', value: 1 } } } } },
    ],
  });
  const letters = async () => (await client.deadLetters.listDeadLetters({ filter: { lanes: ['strict'] } })).deadLetters;
  await eventually(async () => (await letters()).length === 1);
  expect((await letters())[0]).toMatchObject({
    reason: DeadLetterReason.PERMANENT,
    failure: { code: 'EventContentError', message: expect.stringMatching(/payload of order.placed does not fit/) },
  });
  expect(called).toBe(false);
});

test('events of one key are handled one after the other, in order, whoever has room', async () => {
  const seen: number[] = [];
  let running = 0;
  let most = 0;
  const worker = newWorker('ordered').on(
    'line.opened',
    async ({ payload }) => {
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      seen.push(payload.line);
      running--;
    },
    { orderingKey: 'stream', where: { streams: ['lines/*'] } },
  );
  await worker.start();
  const lines = Array.from({ length: 20 }, (_, line) => line);
  await client.publishMany(lines.map((line) => ({ type: 'line.opened', stream: 'lines/1', payload: { line } })));
  await eventually(() => seen.length === lines.length);
  expect({ seen, most }).toEqual({ seen: lines, most: 1 });
});

test('a stream that has gone on is looked at again', async () => {
  const tried: number[] = [];
  const worker = newWorker('accounts').on(
    'order.placed',
    async ({ payload: { order } }, context) => {
      const { events: read } = await client.engine.readStream({ stream: 'account', backward: true });
      const last = read[0]?.streamVersion;
      tried.push(context.attemptNumber);
      // Somebody else is faster.
      if (tried.length === 1) await client.publish({ type: 'account.used', stream: 'account', payload: { by: 'b' } });
      return { type: 'account.used', stream: 'account', expectedStreamVersion: last ?? 0n, payload: { by: order } };
    },
    { retry: { initialBackoffMs: 10 } },
  );
  await worker.start();
  await client.publish({ type: 'account.used', stream: 'account', payload: { by: 'c' } });
  const flowId = await publish({ type: 'order.placed', payload: { order: 'a' } });
  expect(await eventsOf(flowId)).toContain('account.used {"by":"a"}');
  expect(tried).toEqual([1, 2]);
});

test('the example of an order ships one, and takes back what was done for the one that cannot be shipped', async () => {
  const child = spawn(process.execPath, ['--import', 'tsx', 'examples/order-flow.ts'], {
    env: { ...process.env, TAILRACE_URL: tailrace.url },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let output = '';
  child.stdout.on('data', (text: Buffer) => {
    output += text.toString();
  });
  const [code] = await once(child, 'close');
  const [shipped = '', refused = ''] = output.split(/(?=the one to Atlantis)/);
  const prepared = [
    '      → payment/payment.requested SUCCEEDED',
    '      → stock/stock.requested SUCCEEDED',
    '        order.prepared',
    '        order.prepared',
    '    payment.requested',
    '    stock.requested',
    '  → orders/order.placed SUCCEEDED',
    'order.placed',
  ];
  // Siblings come in the order in which they were made.
  const linesOf = (tree: string) => tree.trimEnd().split('\n').sort();
  expect(linesOf(shipped)).toEqual(
    [
      'the one to Lisbon: settled, IDLE',
      ...prepared,
      '→ shipping/order.prepared/batch SUCCEEDED',
      '  order.shipped',
    ].sort(),
  );
  expect(linesOf(refused)).toEqual(
    [
      'the one to Atlantis: settled, IDLE',
      ...prepared,
      '→ shipping/order.prepared/batch FAILED: no carrier goes to Atlantis',
      '  shipping.refused',
      '    → payment/shipping.refused SUCCEEDED',
      '      payment.refunded',
      '    → stock/shipping.refused SUCCEEDED',
      '      stock.released',
    ].sort(),
  );
  expect(code).toBe(0);
});
