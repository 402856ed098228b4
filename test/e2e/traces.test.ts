/** Traces from a client through the server to handlers and back, with the context carried by executions and events. */
import { context, trace } from '@opentelemetry/api';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { flow, LogEntryKind } from '../../src/client/index.js';
import { AttemptKind, inBatches, PermanentError, Worker } from '../../src/worker/index.js';
import { isError, pathTo, RecordedSpans } from '../support/recorded-spans.js';
import { Workplace } from '../support/workplace.js';

const CREATE = 'tailrace.v1.EngineService/CreateExecutions';
const BOUND = { timeoutMs: 20_000 };
const SOON = { initialBackoffMs: 10, maxAttempts: 2 };

let spans: RecordedSpans;
let place: Workplace;
const started: Worker[] = [];
beforeAll(async () => {
  spans = new RecordedSpans();
  place = await Workplace.start();
});
afterEach(async () => {
  await place.endOfWork();
  await Promise.all(started.splice(0).map((worker) => worker.stop()));
});
afterAll(async () => {
  await place.stop();
  await spans.stop();
});

async function reacting(lane: string, name: (worker: Worker) => unknown): Promise<Worker> {
  const worker = new Worker({ url: place.tailrace.url, lanes: [lane], log: () => {}, drainMs: 0 });
  name(worker);
  started.push(worker);
  await worker.start();
  return worker;
}

function parentOf(span: ReadableSpan | undefined): string | undefined {
  return span?.parentSpanContext?.spanId;
}

describe('one trace', () => {
  test('goes from the caller through the server to the handler, what it emits, and who reacts', async () => {
    const { client } = place;
    const lane = 'traced';
    await reacting(lane, (worker) => {
      worker.handle('order', async (ctx) => {
        await trace.getTracer('shop').startActiveSpan('price', async (span) => {
          ctx.emit({ type: 'order.placed', payload: { id: 1 } });
          ctx.spawn({ type: 'mail', lane });
          span.end();
        });
      });
      worker.handle('mail', () => 'sent');
      worker.on('order.placed', () => trace.getTracer('shop').startSpan('ship').end());
    });
    const { traceId, made } = await spans.within('checkout', () => client.create({ type: 'order', lane }));
    await spans.named(traceId, 'order.placed process');
    await spans.named(traceId, 'mail process');
    await spans.named(traceId, 'ship');
    const all = spans.of(traceId);
    const paths = all.map((span) => pathTo(span, all).join(' → ')).sort();
    expect(paths).toEqual(
      [
        'checkout',
        'checkout → order create',
        `checkout → order create → ${CREATE}`,
        'checkout → order create → order process',
        'checkout → order create → order process → price',
        'checkout → order create → order process → price → mail process',
        'checkout → order create → order process → price → order.placed process',
        'checkout → order create → order process → price → order.placed process → ship',
      ].sort(),
    );
    const [handled] = all.filter(({ name }) => name === 'order process');
    expect(handled?.attributes).toMatchObject({
      'messaging.system': 'tailrace',
      'messaging.destination.name': lane,
      'tailrace.execution_id': made.executionId,
      'tailrace.type': 'order',
      'tailrace.lane': lane,
      'tailrace.attempt': 1,
      'tailrace.end': 'completed',
    });
    const [served] = all.filter(({ name }) => name === CREATE);
    expect(served?.attributes).toMatchObject({
      'rpc.system.name': 'connectrpc',
      'rpc.method': CREATE,
      'rpc.response.status_code': 'OK',
      'tailrace.namespace': 'default',
    });
    // The claim was made in no trace, and is linked with the one it took up.
    const claims = spans.all.filter(({ name }) => name === 'tailrace.v1.EngineService/ClaimExecutions');
    expect(claims.flatMap(({ links }) => links.map(({ context }) => context.traceId))).toContain(traceId);
    expect(claims.map(parentOf).filter(Boolean)).toEqual([]);
  });

  test('holds every attempt, and the redrive of what was given up', async () => {
    const { client } = place;
    const lane = 'redriven';
    let fails = true;
    await place.work(lane, {
      shaky: () => {
        if (fails) throw new Error('out of paper');
        return 'done';
      },
    });
    const { traceId, made } = await spans.within('print', () => client.create({ type: 'shaky', lane, retry: SOON }));
    const [ended] = (await client.awaitExecutions([made.executionId], BOUND)).executions;
    fails = false;
    const { executionId } = await client.deadLetters.redriveDeadLetter({
      deadLetterId: ended?.outcome?.deadLetterId ?? '',
    });
    const attempts = await spans.named(traceId, 'shaky process', 3);
    const told = attempts.map((span) => [
      span.attributes['tailrace.attempt'],
      span.attributes['tailrace.attempt_kind'],
      span.attributes['tailrace.execution_id'],
      isError(span),
    ]);
    expect(told).toEqual([
      [1, 'initial', made.executionId, true],
      [2, 'retry', made.executionId, true],
      [1, 'redrive', executionId, false],
    ]);
    expect(new Set(attempts.map(parentOf)).size).toBe(1);
    expect(attempts[0]?.events[0]).toMatchObject({
      name: 'exception',
      attributes: { 'exception.message': 'out of paper' },
    });
    expect(attempts[2]?.attributes['tailrace.redrive_of']).toBe(made.executionId);
    expect(AttemptKind.REDRIVE).toBeGreaterThan(0);
  });

  test('holds the members of a flow, what is skipped and made anew, and children that are waited for', async () => {
    const { client } = place;
    const lane = 'flowing';
    let fails = true;
    await place.work(lane, {
      parent: (ctx) => (ctx.children ? 'both' : ctx.waitForChildren([{ type: 'child', lane }])),
      child: () => 1,
      weak: () => {
        if (fails) throw new PermanentError('not yet');
        return 'now';
      },
      last: () => 'end',
    });
    const graph = () =>
      flow({ name: 'traced' })
        .member('parent', { type: 'parent', lane })
        .member('weak', { type: 'weak', lane })
        .member('last', { type: 'last', lane })
        .chain('parent', 'weak', 'last');
    const { traceId, made } = await spans.within('plan', () => client.createFlow(graph()));
    const { parent, weak, last } = made.ids;
    const { executions } = await client.awaitExecutions([parent, weak, last], BOUND);
    expect(executions[2]?.state).toBe(ExecutionState.SKIPPED);
    fails = false;
    await client.deadLetters.redriveDeadLetter({ deadLetterId: executions[1]?.outcome?.deadLetterId ?? '' });
    await spans.named(traceId, 'last process');
    const all = spans.of(traceId);
    const runs = all
      .filter(({ name }) => name.endsWith(' process'))
      .sort(({ startTime: a }, { startTime: b }) => a[0] - b[0] || a[1] - b[1])
      .map(({ name, attributes }) => {
        return [name, attributes['tailrace.end'], attributes['tailrace.resumed'] ?? false];
      });
    expect(runs).toEqual([
      ['parent process', 'parked', false],
      ['child process', 'completed', false],
      ['parent process', 'completed', true],
      ['weak process', 'failed', false],
      ['weak process', 'completed', false],
      ['last process', 'completed', false],
    ]);
    const [child] = all.filter(({ name }) => name === 'child process');
    expect(pathTo(child as ReadableSpan, all)).toEqual(['plan', 'create flow', 'parent process', 'child process']);
  });

  test('holds what reacts to published events, whole batches of them, and the handlers of dead letters', async () => {
    const { client } = place;
    const lane = 'published';
    await reacting(lane, (worker) => {
      worker.on('page.read', () => {
        throw new PermanentError('never');
      });
      worker.join('page.read', () => undefined);
      worker.onDeadLetter((letter) => letter.resolve('ignored'));
    });
    const event = { type: 'page.read', payload: 1, batchGroup: 'pages' };
    const { traceId, made } = await spans.within('scan', () => client.publishMany([event, { ...event, payload: 2 }]));
    await spans.named(traceId, 'page.read process', 2);
    await spans.named(traceId, 'page.read/batch process');
    await spans.named(traceId, 'dead-letter process', 2);
    const [first] = made;
    const stored = first?.ok ? await client.getEvent(first.eventId) : undefined;
    const [publish] = spans.of(traceId).filter(({ name }) => name === 'page.read publish');
    const { spanId = '' } = publish?.spanContext() ?? {};
    expect(stored?.headers).toEqual({ traceparent: `00-${traceId}-${spanId}-01` });
    // The same again is a repeat, wherever it is said.
    const once = { type: 'page.seen', payload: 1, eventId: `seen-${traceId}` };
    const told = [];
    for (const name of ['one', 'other'])
      told.push((await spans.within(name, () => client.publish(once))).made.duplicate);
    expect(told).toEqual([false, true]);
  });

  test('is linked with the groups of entries that a consumer handles', async () => {
    const { client } = place;
    const { cursor } = await client.publish({ type: 'before', payload: 0 });
    await client.consumers.put({
      name: 'counted',
      start: { cursor },
      filter: { kinds: [LogEntryKind.EVENT_PUBLISHED] },
    });
    const { traceId } = await spans.within('tell', () => client.publish({ type: 'told', payload: 0 }));
    const active: (string | undefined)[] = [];
    const handler = inBatches(() => {
      active.push(trace.getSpanContext(context.active())?.traceId);
    });
    await reacting('none', (worker) => worker.consumer('counted', handler));
    const groups = () => spans.all.filter(({ name }) => name === 'counted process');
    await expect.poll(() => groups().length, { timeout: 20_000 }).toBeGreaterThan(0);
    const [group] = groups();
    expect(group?.links.map(({ context }) => context.traceId)).toEqual([traceId]);
    expect(parentOf(group)).toBeUndefined();
    expect(active).toEqual([group?.spanContext().traceId]);
  });
});

test('a call is an error where the server is at fault, and says its reason anyway', async () => {
  const { client } = place;
  const executionId = '0198a0a0-0000-7000-8000-000000000001';
  const { traceId } = await spans.within('look', async () => {
    await client.admin.getExecution({ executionId }).catch(() => undefined);
    await client.completions.awaitExecutions({ executionIds: [executionId] }, { timeoutMs: 1 }).catch(() => undefined);
  });
  const [missing] = await spans.named(traceId, 'tailrace.v1.AdminService/GetExecution');
  expect(missing && isError(missing)).toBe(false);
  expect(missing?.attributes).toMatchObject({
    'rpc.response.status_code': 'NOT_FOUND',
    'tailrace.reason': 'EXECUTION_NOT_FOUND',
  });
});
