/** Where in its caller's trace an execution belongs: said by field or header, kept with it, told with every claim. */

import { createClient } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineService } from '../../gen/tailrace/v1/engine_service_pb.js';
import { openConnection } from '../../src/client/connection.js';
import { asTailraceError, type TailraceError } from '../../src/client/errors.js';
import { leaseOf, only, seconds } from '../support/by-hand.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const worker = { name: 'tracer', instanceId: '' };
const OTHER = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00`;

let tailrace: TestTailrace;
let made = 0;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

function newTrace(): string {
  return `00-${(++made).toString(16).padStart(32, '0')}-00f067aa0ba902b7-01`;
}

async function claim(lane: string) {
  const { claims } = await tailrace.engine.claimExecutions({
    worker,
    lanes: [{ lane }],
    wait: seconds(5),
    leaseDuration: seconds(60),
  });
  return only(claims);
}

async function refusal(call: Promise<unknown>): Promise<TailraceError> {
  return await call.then(() => Promise.reject(new Error('it was accepted')), asTailraceError);
}

async function traceOf(executionId: string) {
  const { execution } = await tailrace.admin.getExecution({ executionId });
  const { traceparent, tracestate } = execution?.traceContext ?? {};
  return [traceparent, tracestate];
}

function idOf({ results }: Awaited<ReturnType<TestTailrace['engine']['createExecutions']>>): string {
  const { result } = only(results);
  return result.case === 'ok' ? result.value.executionId : '';
}

describe('a trace', () => {
  test.each([
    ['Connect', 'connect', 'vendor=1,other=two'],
    ['gRPC', 'grpc', ''],
  ] as const)('comes with the headers of a call over %s, and goes with the claim', async (_, transport, tracestate) => {
    const connection = openConnection({ url: tailrace.url, transport });
    const engine = createClient(EngineService, connection.transport);
    const traceparent = newTrace();
    const headers = { traceparent, ...(tracestate && { tracestate }) };
    const executionId = idOf(
      await engine.createExecutions({ executions: [{ type: 't', lane: transport }] }, { headers }),
    );
    connection.close();
    expect(await traceOf(executionId)).toEqual([traceparent, tracestate]);
    expect((await claim(transport)).traceContext).toMatchObject({ traceparent, tracestate });
  });

  test('comes with plain HTTP, whose garbled headers are nothing', async () => {
    const call = async (headers: Record<string, string>) => {
      const body = JSON.stringify({ executions: [{ type: 't', lane: 'plain' }] });
      const asked = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body };
      const answer = await fetch(`${tailrace.url}/tailrace.v1.EngineService/CreateExecutions`, asked);
      return ((await answer.json()) as { results: { ok: { executionId: string } }[] }).results[0]?.ok.executionId ?? '';
    };
    const traceparent = newTrace();
    expect(await traceOf(await call({ traceparent }))).toEqual([traceparent, '']);
    expect(await traceOf(await call({ traceparent: `cc${traceparent.slice(2)}-more` }))).toEqual([traceparent, '']);
    for (const wrong of [
      'nonsense',
      `ff${traceparent.slice(2)}`,
      traceparent.toUpperCase().replace('00F0', 'AAAA'),
      `${traceparent}-x`,
    ]) {
      expect(await traceOf(await call({ traceparent: wrong, tracestate: 'a=1' })), wrong).toEqual([
        undefined,
        undefined,
      ]);
    }
    expect(await traceOf(await call({ traceparent, tracestate: 'x'.repeat(513) }))).toEqual([traceparent, '']);
  });

  test('is that of the spec where it has one, and no content: a repeat may come from elsewhere', async () => {
    const traceparent = newTrace();
    const spec = { type: 't', lane: 'said', requestId: 'said' };
    const create = (of: string, headers = {}) =>
      tailrace.engine.createExecutions({ executions: [{ ...spec, traceContext: { traceparent: of } }] }, { headers });
    const executionId = idOf(await create(traceparent, { traceparent: OTHER }));
    expect(await traceOf(executionId)).toEqual([traceparent, '']);
    expect(only((await create(OTHER)).results).result).toMatchObject({ value: { executionId, duplicate: true } });
    expect(await traceOf(executionId)).toEqual([traceparent, '']);
  });

  test.each([
    ['traceparent', { traceparent: '' }, 'is required'],
    ['traceparent', { traceparent: `01${OTHER.slice(2)}` }, 'must be a W3C traceparent of version 00'],
    ['traceparent', { traceparent: OTHER.replaceAll('a', '0') }, 'must be a W3C traceparent of version 00'],
    ['tracestate', { traceparent: OTHER, tracestate: 'x'.repeat(513) }, 'must be at most 512 bytes long; it has 513'],
    ['tracestate', { traceparent: OTHER, tracestate: 'ä=1' }, 'must be printable ASCII'],
  ])('is refused where its %s is wrong: %j', async (field, traceContext, rule) => {
    const refused = await refusal(tailrace.engine.createExecutions({ executions: [{ type: 't', traceContext }] }));
    expect(refused.violations).toEqual([
      { field: `executions[0].trace_context.${field}`, description: expect.stringContaining(rule) },
    ]);
  });

  test('goes to children, and with hand-over, although the worker knows nothing of traces', async () => {
    const traceparent = newTrace();
    const { engine } = tailrace;
    const flow = await engine.createFlow(
      {
        flow: { name: 'traced' },
        members: [
          { localName: 'first', execution: { type: 'first', lane: 'handed' } },
          { localName: 'second', execution: { type: 'second', lane: 'handed', traceContext: { traceparent: OTHER } } },
        ],
        edges: [
          {
            upstream: { member: { case: 'localName', value: 'first' } },
            downstream: { member: { case: 'localName', value: 'second' } },
          },
        ],
      },
      { headers: { traceparent } },
    );
    const first = await claim('handed');
    expect(first.traceContext?.traceparent).toBe(traceparent);
    const { claims, results } = await engine.completeExecutions({
      completions: [{ lease: leaseOf(first), children: [{ type: 'child', lane: 'born' }] }],
      claimNext: { mode: 1, worker, lanes: [{ lane: 'handed' }], maxExecutions: 1 },
    });
    expect(only(results).result.case).toBe('ok');
    const second = claims[0] ?? (await claim('handed'));
    expect(second.executionId).toBe(flow.executionIds['second']);
    expect(second.traceContext?.traceparent).toBe(OTHER);
    expect((await claim('born')).traceContext?.traceparent).toBe(traceparent);
    const handed = await engine.completeExecutions({ completions: [{ lease: leaseOf(second) }] });
    expect(only(handed.results).result.case).toBe('ok');
  });

  test('comes in one answer with those of many, and with none', async () => {
    const traces = Array.from({ length: 200 }, (_, i) => (i % 3 === 0 ? undefined : newTrace()));
    const executions = traces.map((traceparent) => {
      return { type: 't', lane: 'many', ...(traceparent && { traceContext: { traceparent, tracestate: 'n=1' } }) };
    });
    await tailrace.engine.createExecutions({ executions });
    const asked = { worker, lanes: [{ lane: 'many' }], maxExecutions: 500 };
    const { claims } = await tailrace.engine.claimExecutions(asked);
    expect(claims.map(({ traceContext }) => traceContext?.traceparent)).toEqual(traces);
    const [{ executionId } = { executionId: '' }] = claims;
    expect(executionId).not.toBe('');
  });

  test('of a named claim comes too', async () => {
    const traceparent = newTrace();
    const spec = { type: 't', lane: 'named', traceContext: { traceparent } };
    const executionId = idOf(await tailrace.engine.createExecutions({ executions: [spec] }));
    const answer = await tailrace.engine.claimExecution({ executionId, worker });
    expect(answer.claim?.traceContext?.traceparent).toBe(traceparent);
  });
});

describe('an event', () => {
  test('is told its call in its headers, unless it brings a trace; that is no content either', async () => {
    const { engine } = tailrace;
    const traceparent = newTrace();
    const publish = (headers: Record<string, string>, own = {}, eventId = 'e1') =>
      engine.publishEvents({ events: [{ type: 'e', eventId, headers: { a: '1', ...own } }] }, { headers });
    await publish({ traceparent, tracestate: 'v=1' });
    const repeat = only((await publish({ traceparent: OTHER })).results).result;
    expect(repeat).toMatchObject({ case: 'ok', value: { duplicate: true } });
    const { event } = await engine.getEvent({ eventId: 'e1' });
    expect(event?.headers).toEqual({ a: '1', traceparent, tracestate: 'v=1' });
    await publish({ traceparent, tracestate: 'v=1' }, { traceparent: OTHER }, 'e2');
    const brought = await engine.getEvent({ eventId: 'e2' });
    expect(brought.event?.headers).toEqual({ a: '1', traceparent: OTHER });
  });

  test('tells it to its reactions, as does what it was emitted by, if that is all there is', async () => {
    const { engine, admin } = tailrace;
    const traceparent = newTrace();
    const subscribe = (type: string, next: string) =>
      admin.putSubscription({ subscription: { name: type, type: next, lane: next, filter: { eventTypes: [type] } } });
    await subscribe('one', 'reacts-to-one');
    await subscribe('two', 'reacts-to-two');
    await engine.publishEvents({ events: [{ type: 'one' }] }, { headers: { traceparent } });
    const first = await claim('reacts-to-one');
    expect(first.traceContext?.traceparent).toBe(traceparent);
    expect(await traceOf(first.executionId)).toEqual([undefined, undefined]);
    await engine.completeExecutions({ completions: [{ lease: leaseOf(first), events: [{ type: 'two' }] }] });
    expect((await claim('reacts-to-two')).traceContext?.traceparent).toBe(traceparent);
  });
});
