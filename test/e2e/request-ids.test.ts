/** Creating twice under one id: the same content is the first execution again, other content is refused (E1). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CreateExecutionResult } from '../../gen/tailrace/v1/engine_service_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { type ByHand, ItemRefused, ok, only, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import type { Clients } from '../support/tailrace.js';

let recorded: Recorded;
let other: Clients;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  other = (await recorded.another()).clients;
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

type Spec = Parameters<ByHand['createOne']>[0];

/** The whole answer to one item. */
async function ask(spec: Spec, { engine } = recorded.clients, namespace = ''): Promise<CreateExecutionResult> {
  return only((await engine.createExecutions({ namespace, executions: [{ type: 'work', ...spec }] })).results);
}

const reused = (execution: string) => ({ reason: 'REQUEST_ID_REUSED', metadata: { execution_id: execution } });

describe('proof 6: the same request id', () => {
  it('with the same content answers the first execution, whatever became of it', async () => {
    const spec = { requestId: 'order 1', input: text('a'), tags: { b: '2', a: '1' }, requiredCapabilities: ['x', 'y'] };
    const first = ok(await ask(spec));
    expect(first).toMatchObject({ duplicate: false, state: ExecutionState.QUEUED });
    const again = { ...spec, tags: { a: '1', b: '2' }, requiredCapabilities: ['y', 'x'] };
    expect(ok(await ask(again))).toMatchObject({ executionId: first.executionId, duplicate: true, state: 3 });
    await hand.complete(await hand.claimNamed(first.executionId, { capabilities: ['x', 'y'] }));
    expect(ok(await ask(again))).toMatchObject({
      executionId: first.executionId,
      duplicate: true,
      state: ExecutionState.SUCCEEDED,
    });
  });

  it.each<[string, Spec]>([
    ['input', { input: text('b') }],
    ['type of its input', { input: { contentType: 'text/markdown', ...text('a') } }],
    ['type', { type: 'other' }],
    ['lane', { lane: 'other' }],
    ['priority', { priority: 1 }],
    ['delay', { delay: seconds(1) }],
    ['time to live', { ttl: seconds(1) }],
    ['attempt timeout', { attemptTimeout: seconds(1) }],
    ['tags', { tags: { a: '2' } }],
    ['capabilities', { requiredCapabilities: ['x'] }],
    ['retry policy', { retryPolicy: { maxAttempts: 2 } }],
  ])('with another %s is refused, and the first execution is left alone', async (what, change) => {
    const spec = { requestId: `content: ${what}`, input: text('a'), tags: { a: '1' } };
    const { executionId } = ok(await ask(spec));
    const before = await hand.look(executionId);
    expect(await refusal(ask({ ...spec, ...change }).then(ok))).toMatchObject(reused(executionId));
    expect(await hand.look(executionId)).toEqual(before);
  });

  it('in another namespace is another request', async () => {
    const spec = { requestId: 'everywhere', lane: 'namespaced' };
    const here = ok(await ask(spec));
    const there = ok(await ask({ ...spec, input: text('other') }, undefined, 'elsewhere'));
    expect(there.duplicate).toBe(false);
    expect(there.executionId).not.toBe(here.executionId);
  });

  it('twice in one call is malformed, and nothing of the call is stored', async () => {
    const specs = [{ requestId: 'new, beside twins' }, { requestId: 'twin' }, { requestId: 'twin' }];
    expect(await refusal(hand.create(...specs))).toMatchObject({
      reason: 'INVALID_FIELD',
      fieldViolations: [{ field: 'executions[2].request_id' }],
    });
    for (const spec of specs.slice(0, 2)) expect(ok(await ask(spec)).duplicate).toBe(false);
  });
});

describe('proof 6: an execution id made by the client', () => {
  it('protects like a request id', async () => {
    const spec = { executionId: uuidV7(), input: text('a') };
    expect(ok(await ask(spec))).toMatchObject({ executionId: spec.executionId, duplicate: false });
    expect(ok(await ask(spec))).toMatchObject({ executionId: spec.executionId, duplicate: true });
    const refused = await refusal(ask({ ...spec, input: text('b') }).then(ok));
    expect(refused).toMatchObject(reused(spec.executionId));
  });

  it('that is taken does not burn the request id it came with', async () => {
    const executionId = uuidV7();
    await ask({ executionId, requestId: 'first' });
    expect(await refusal(ask({ executionId, requestId: 'second' }).then(ok))).toMatchObject({
      reason: 'REQUEST_ID_REUSED',
    });
    expect(ok(await ask({ requestId: 'second' }))).toMatchObject({ duplicate: false });
  });
});

describe('proof 6: at the same time', () => {
  /** Who won, who was told of it, who was refused: every answer must be one of these. */
  function sortOut(results: readonly CreateExecutionResult[]) {
    const answers = results.map((result) => {
      if (result.result.case === 'ok') return result.result.value.duplicate ? 'duplicate' : 'created';
      return new ItemRefused(result.result.value as never).detail?.reason ?? 'untyped';
    });
    const ids = new Set(results.flatMap(({ result }) => (result.case === 'ok' ? [result.value.executionId] : [])));
    const count = (answer: string) => answers.filter((each) => each === answer).length;
    return {
      created: count('created'),
      duplicates: count('duplicate'),
      reused: count('REQUEST_ID_REUSED'),
      ids: ids.size,
    };
  }

  it('equal requests in one grouped statement, over one server, make one execution', async () => {
    const asks = Array.from({ length: 50 }, () => ask({ requestId: 'stampede', lane: 'stampede' }));
    expect(sortOut(await Promise.all(asks))).toEqual({ created: 1, duplicates: 49, reused: 0, ids: 1 });
  });

  it('of two contents over two servers one wins, and everybody gets his own answer', async () => {
    const asks = Array.from({ length: 60 }, (_, i) =>
      ask(
        { requestId: 'contested', lane: 'contested', input: text(i % 3 === 0 ? 'a' : 'b') },
        i % 2 === 0 ? recorded.clients : other,
      ),
    );
    const { created, duplicates, reused: refused, ids } = sortOut(await Promise.all(asks));
    expect([created, ids]).toEqual([1, 1]);
    expect([`19 40`, `39 20`]).toContain(`${duplicates} ${refused}`);
  });

  it('batches with the same ids in opposite order meet without a deadlock', async () => {
    const specs = Array.from({ length: 200 }, (_, i) => ({
      type: 'work',
      lane: 'crossing',
      requestId: `crossing ${i}`,
    }));
    const servers = [recorded.clients, other];
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => {
        const executions = i % 2 === 0 ? specs : specs.toReversed();
        return servers[i % 2]?.engine.createExecutions({ executions });
      }),
    );
    const results = answers.flatMap((answer) => answer?.results ?? []);
    expect(sortOut(results)).toEqual({ created: 200, duplicates: 1_400, reused: 0, ids: 200 });
  });
});

describe('proof 6: a batch', () => {
  it('answers each item for itself', async () => {
    const known = ok(await ask({ requestId: 'known' })).executionId;
    const { results } = await recorded.clients.engine.createExecutions({
      executions: [
        { type: 'work', requestId: 'known' },
        { type: 'work', requestId: 'known too', input: text('new') },
        { type: 'work' },
      ],
    });
    expect(results.map(ok)).toMatchObject([{ executionId: known, duplicate: true }, { duplicate: false }, {}]);
    const mixed = await recorded.clients.engine.createExecutions({
      executions: [
        { type: 'work', requestId: 'known', input: text('other') },
        { type: 'work', requestId: 'fresh beside a refusal' },
      ],
    });
    expect(mixed.results.map(({ result }) => result.case)).toEqual(['error', 'ok']);
  });

  it('that is atomic stores nothing when one item is refused, and takes duplicates as they are', async () => {
    const known = ok(await ask({ requestId: 'atomic, known' })).executionId;
    const asked = (...executions: { requestId: string; input?: ReturnType<typeof text> }[]) =>
      recorded.clients.engine.createExecutions({
        atomic: true,
        executions: executions.map((spec) => ({ type: 'work', ...spec })),
      });
    const fresh = { requestId: 'atomic, fresh' };
    const refused = asked(fresh, { requestId: 'atomic, known', input: text('other') });
    expect(await refusal(refused)).toMatchObject(reused(known));
    const { results } = await asked(fresh, { requestId: 'atomic, known' });
    expect(results.map(ok)).toMatchObject([{ duplicate: false }, { executionId: known, duplicate: true }]);
  });
});
