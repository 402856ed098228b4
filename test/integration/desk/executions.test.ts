/** GetExecution, ListExecutions, ListAttempts: every state is seen whole, every page is complete, no namespace leaks. */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { AttemptKind, AttemptOutcome, FailureClass } from '../../../gen/tailrace/v1/attempt_pb.js';
import type { Execution } from '../../../gen/tailrace/v1/execution_pb.js';
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { listExecutions } from '../../../src/repository/inspection/index.js';
import { wallMs } from '../../../src/runtime/clock.js';
import { refusal, seconds, text } from '../../support/by-hand.js';
import { type Desk, startDesk } from '../../support/desk.js';

let desk: Desk;
beforeAll(async () => {
  desk = await startDesk();
});
afterEach(async () => {
  expect(await desk.broken()).toEqual([]);
});
afterAll(async () => {
  await desk.stop();
});

async function get(executionId: string): Promise<Execution> {
  const { execution } = await desk.admin.getExecution({ executionId });
  if (!execution) throw new Error('an answer without an execution');
  return execution;
}

/** Ids of all pages, and how many pages there were. */
async function listed(filter: object, pageSize = 2): Promise<string[]> {
  const ids: string[] = [];
  let pageToken = '';
  do {
    const page = await desk.admin.listExecutions({ filter, pageSize, pageToken });
    ids.push(...page.executions.map(({ executionId }) => executionId));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return ids;
}

describe('GetExecution', () => {
  it('shows what was asked for', async () => {
    const id = await desk.hand.createOne({
      type: 'send',
      lane: 'mail',
      requestId: 'r-1',
      priority: 7,
      input: text('hello'),
      ttl: seconds(60),
      deadlineTime: { seconds: BigInt(Math.floor(wallMs() / 1000) + 3600), nanos: 0 },
      attemptTimeout: seconds(30),
      retryPolicy: { maxAttempts: 9 },
      tags: { customer: '7' },
      requiredCapabilities: ['gpu', 'eu'],
    });
    expect(await get(id)).toMatchObject({
      executionId: id,
      namespace: 'default',
      lane: 'mail',
      type: 'send',
      state: ExecutionState.QUEUED,
      priority: 7,
      requestId: 'r-1',
      ttl: { seconds: 60n },
      attemptTimeout: { seconds: 30n },
      retryPolicy: { maxAttempts: 9, backoffFactor: 2, maxReclaims: 20, countLostLeases: true },
      tags: { customer: '7' },
      requiredCapabilities: ['eu', 'gpu'],
      input: { contentType: 'text/plain; charset=utf-8', body: { case: 'text', value: 'hello' } },
      inputOmitted: false,
      attemptCount: 0,
      idempotencyKey: id,
    });
    await desk.hand.cancel(id);
  });

  it('shows the bare minimum where nothing was asked for', async () => {
    const id = await desk.hand.createOne();
    const shown = await get(id);
    expect(shown).toMatchObject({ state: ExecutionState.QUEUED, lane: 'default', type: 'work', requestId: '' });
    for (const field of [
      'input',
      'runTime',
      'ttl',
      'deadlineTime',
      'attemptTimeout',
      'lease',
      'outcome',
      'startTime',
    ]) {
      expect(shown).not.toHaveProperty(field);
    }
    await desk.hand.cancel(id);
    expect((await get(id)).outcome).toMatchObject({
      state: ExecutionState.CANCELED,
      reason: EndReason.CANCEL_REQUESTED,
    });
  });

  it('follows it through its phases', async () => {
    const lane = 'phases';
    const id = await desk.hand.createOne({ lane, delay: seconds(60), retryPolicy: { maxAttempts: 3 } });
    expect(await get(id)).toMatchObject({ state: ExecutionState.SCHEDULED, runTime: expect.anything() });
    await desk.admin.changeExecution({ executionId: id, runTime: { seconds: 1n, nanos: 0 } });
    const first = await desk.hand.claimOne({ lanes: [{ lane }], leaseDuration: seconds(60) });
    await desk.hand.progress(first, 40, 'almost half');
    const running = await get(id);
    expect(running).toMatchObject({
      state: ExecutionState.RUNNING,
      attemptCount: 1,
      lease: { worker: { name: 'hand' }, fencingToken: first.lease?.fencingToken },
      progress: { percent: 40, message: 'almost half' },
      startTime: running.stateTime,
    });
    await desk.hand.cancel(id, { reason: 'enough' });
    expect((await get(id)).cancelRequest).toMatchObject({ reason: 'enough', graceEndTime: expect.anything() });
    await desk.hand.complete(first, 'fine');
    expect(await get(id)).toMatchObject({
      state: ExecutionState.SUCCEEDED,
      attemptCount: 1,
      outcome: {
        state: ExecutionState.SUCCEEDED,
        reason: EndReason.UNSPECIFIED,
        attemptNumber: 1,
        result: { body: { case: 'text', value: 'fine' } },
      },
    });
  });

  it('counts what failed, before and after the end', async () => {
    const lane = 'failing';
    const lanes = [{ lane }];
    const id = await desk.hand.createOne({ lane, retryPolicy: { maxAttempts: 2 } });
    await desk.hand.fail(await desk.hand.claimOne({ lanes }), FailureClass.TRANSIENT, { retryDelay: seconds(60) });
    expect(await get(id)).toMatchObject({
      state: ExecutionState.SCHEDULED,
      failureCount: 1,
      attemptCount: 1,
      lastFailure: { failureClass: FailureClass.TRANSIENT, message: 'it broke', code: 'Broken' },
    });
    await desk.admin.changeExecution({ executionId: id, runTime: { seconds: 1n, nanos: 0 } });
    await desk.hand.fail(await desk.hand.claimOne({ lanes }), FailureClass.TRANSIENT);
    const ended = await get(id);
    expect(ended).toMatchObject({
      state: ExecutionState.FAILED,
      failureCount: 2,
      attemptCount: 2,
      outcome: {
        reason: EndReason.RETRIES_EXHAUSTED,
        failure: { message: 'it broke' },
        deadLetterId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
    });
    expect(ended).not.toHaveProperty('lastFailure');
  });

  it('finds nothing in another namespace, and nothing under an id nobody made', async () => {
    const id = await desk.handIn('elsewhere').createOne();
    expect(await refusal(desk.admin.getExecution({ executionId: id }))).toMatchObject({
      reason: 'EXECUTION_NOT_FOUND',
    });
    expect((await desk.admin.getExecution({ namespace: 'elsewhere', executionId: id })).execution?.namespace).toBe(
      'elsewhere',
    );
    const other = { namespace: 'never used', executionId: id };
    expect(await refusal(desk.admin.getExecution(other))).toMatchObject({ reason: 'EXECUTION_NOT_FOUND' });
    expect(await refusal(desk.admin.explainExecution({ executionId: id }))).toMatchObject({
      reason: 'EXECUTION_NOT_FOUND',
    });
    expect(await refusal(desk.admin.listAttempts({ executionId: id }))).toMatchObject({
      reason: 'EXECUTION_NOT_FOUND',
    });
    expect(await listed({})).not.toContain(id);
    await desk.handIn('elsewhere').cancel(id);
  });
});

describe('ListExecutions', () => {
  it('selects by state, lane, type, tags, worker and time, newest first', async () => {
    const lane = 'select';
    const worker = { name: 'selector', instanceId: 'selector-1' };
    const [a, b, c, d] = await desk.hand.create(
      { lane, type: 'a', tags: { customer: '1', color: 'red' } },
      { lane, type: 'b', tags: { customer: '2' }, delay: seconds(60) },
      { lane, type: 'a', tags: { customer: '1' }, priority: -1 },
      { lane, type: 'b' },
    );
    const claim = await desk.hand.claimOne({ lanes: [{ lane }], types: ['a'], worker, leaseDuration: seconds(60) });
    expect(claim.executionId).toBe(a);
    await desk.hand.cancel(d ?? '');
    expect((await listed({ lanes: [lane] })).sort()).toEqual([a, b, c, d].sort());
    const inOrder = await listed({ lanes: [lane] }, 1);
    expect(inOrder).toEqual([...inOrder].sort().reverse());
    expect(await listed({ lanes: [lane], states: [ExecutionState.QUEUED] })).toEqual([c]);
    expect(await listed({ lanes: [lane], states: [ExecutionState.RUNNING, ExecutionState.CANCELED] })).toEqual(
      [a, d].sort().reverse(),
    );
    expect(await listed({ types: ['a'], lanes: [lane] })).toEqual([a, c].sort().reverse());
    expect(await listed({ tags: { customer: '1' } })).toEqual([a, c].sort().reverse());
    expect(await listed({ tags: { customer: '1', color: 'red' } })).toEqual([a]);
    expect(await listed({ tags: { customer: '1' }, states: [ExecutionState.QUEUED] })).toEqual([c]);
    expect(await listed({ workerName: 'selector' })).toEqual([a]);
    expect(await listed({ workerInstanceId: 'selector-1', tags: { customer: '1' } })).toEqual([a]);
    expect(await listed({ workerInstanceId: 'selector-1', states: [ExecutionState.QUEUED] })).toEqual([]);
    expect(await listed({ lanes: ['no such lane'] })).toEqual([]);
    const { createTime, outcome } = await get(d ?? '');
    expect(await listed({ lanes: [lane], minEndTime: outcome?.endTime })).toEqual([d]);
    expect(await listed({ lanes: [lane], maxEndTime: outcome?.endTime })).toEqual([]);
    expect(await listed({ lanes: [lane], maxCreateTime: createTime })).toEqual([]);
    expect((await listed({ lanes: [lane], minCreateTime: createTime })).length).toBe(4);
    await desk.hand.complete(claim);
    expect(await listed({ lanes: [lane], states: [ExecutionState.SUCCEEDED] })).toEqual([a]);
    const { executions } = await desk.admin.listExecutions({ filter: { lanes: [lane] }, includePayloads: true });
    const done = executions.find(({ executionId }) => executionId === a);
    expect(done?.outcome?.result?.body.value).toBe('done');
    const [bare] = (await desk.admin.listExecutions({ filter: { types: ['a'], states: [7] } })).executions;
    expect(bare?.outcome).toMatchObject({ resultOmitted: true });
    for (const id of [b, c]) await desk.hand.cancel(id ?? '');
  });

  it('shows everything that was there, once, while others are created and move', async () => {
    const lane = 'moving';
    const there = await desk.hand.create(...Array.from({ length: 30 }, () => ({ lane })));
    let busy = true;
    const others = (async () => {
      while (busy) {
        const id = await desk.hand.createOne({ lane });
        const claim = await desk.hand.claimOne({ lanes: [{ lane }], maxExecutions: 1 });
        await desk.hand.complete(claim);
        await desk.hand.cancel(id);
      }
    })();
    for (let round = 0; round < 5; round++) {
      const found = await listed({ lanes: [lane] }, 3);
      expect(new Set(found).size).toBe(found.length);
      expect(found).toEqual(expect.arrayContaining(there));
    }
    busy = false;
    await others;
  });

  it('reads a bounded number of rows and says where it goes on', async () => {
    const lane = 'rare';
    const [wanted] = await desk.hand.create({ lane }, ...Array.from({ length: 20 }, () => ({ lane: 'common' })));
    const filter = {
      namespace: 1,
      states: null,
      lanes: [lane],
      types: null,
      tags: null,
      workerName: null,
      worker: null,
      createdFrom: null,
      createdBefore: null,
      endedFrom: null,
      endedBefore: null,
      flow: null,
      parent: null,
      subscription: null,
    };
    for (const states of [null, [ExecutionState.QUEUED], [ExecutionState.QUEUED, ExecutionState.RUNNING]]) {
      const found: string[] = [];
      let pages = 0;
      let below: string | null = null;
      do {
        const page = await listExecutions(desk.core.database, {
          filter: { ...filter, states },
          below,
          size: 10,
          inlineBytes: -1,
          budget: 4,
        });
        found.push(...page.executions.map(({ id }) => id));
        below = page.next ?? null;
        pages++;
      } while (below !== null);
      expect(found).toEqual([wanted]);
      expect(pages).toBeGreaterThan(4);
    }
    for (const id of await listed({ lanes: [lane, 'common'] })) await desk.hand.cancel(id);
  });

  it('binds its tokens to the filter and the namespace', async () => {
    await desk.hand.create({ lane: 'tokens' }, { lane: 'tokens' });
    const filter = { lanes: ['tokens'] };
    const { nextPageToken: pageToken } = await desk.admin.listExecutions({ filter, pageSize: 1 });
    expect(pageToken).not.toBe('');
    const bad = [
      { filter: {}, pageToken },
      { filter, pageToken, namespace: 'elsewhere' },
      { filter, pageToken: `${pageToken}A` },
      { filter, pageToken: 'nonsense' },
    ];
    for (const request of bad) {
      expect(await refusal(desk.admin.listExecutions(request))).toMatchObject({ reason: 'BAD_CURSOR' });
    }
    expect((await desk.admin.listExecutions({ filter, pageSize: 5, pageToken })).executions).toHaveLength(1);
    for (const id of await listed(filter)) await desk.hand.cancel(id);
  });

  it('names what is wrong', async () => {
    const wrong = { namespace: '*', pageSize: -1, filter: { states: [99] } };
    expect((await refusal(desk.admin.listExecutions(wrong))).fieldViolations.map(({ field }) => field)).toEqual([
      'namespace',
      'filter.states[0]',
      'page_size',
    ]);
  });
});

describe('ListAttempts', () => {
  it('lists ended and open ones of an execution by number', async () => {
    const lane = 'tries';
    const id = await desk.hand.createOne({ lane, type: 'try', retryPolicy: { maxAttempts: 5 } });
    const lanes = [{ lane }];
    await desk.hand.fail(await desk.hand.claimOne({ lanes }), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
    await desk.hand.release(await desk.hand.claimOne({ lanes }), 'not now');
    const claim = await desk.hand.claimOne({ lanes, leaseDuration: seconds(60) });
    const { attempts, nextPageToken } = await desk.admin.listAttempts({ executionId: id, pageSize: 2 });
    expect(attempts).toMatchObject([
      {
        attemptNumber: 1,
        kind: AttemptKind.INITIAL,
        outcome: AttemptOutcome.FAILED,
        failure: { message: 'it broke', failureClass: FailureClass.TRANSIENT },
        worker: { name: 'hand' },
        lane,
        type: 'try',
        namespace: 'default',
      },
      { attemptNumber: 2, kind: AttemptKind.RETRY, outcome: AttemptOutcome.RELEASED, failure: { message: 'not now' } },
    ]);
    const rest = await desk.admin.listAttempts({ executionId: id, pageSize: 2, pageToken: nextPageToken });
    expect(rest).toMatchObject({
      attempts: [{ attemptNumber: 3, kind: AttemptKind.CONTINUATION, outcome: AttemptOutcome.UNSPECIFIED }],
      nextPageToken: '',
    });
    expect(rest.attempts[0]).not.toHaveProperty('endTime');
    const failed = await desk.admin.listAttempts({ executionId: id, outcomes: [AttemptOutcome.FAILED] });
    expect(failed.attempts.map(({ attemptNumber }) => attemptNumber)).toEqual([1]);
    await desk.hand.complete(claim);
  });

  it('lists those of a lane and type, newest execution first', async () => {
    const lane = 'many tries';
    const lanes = [{ lane }];
    const ids = await desk.hand.create(...Array.from({ length: 4 }, () => ({ lane })));
    const claims = await desk.hand.claim({ lanes, maxExecutions: 4, leaseDuration: seconds(60) });
    for (const claim of claims.slice(0, 2)) await desk.hand.complete(claim);
    const seen: string[] = [];
    let pageToken = '';
    do {
      const page = await desk.admin.listAttempts({ lane, pageSize: 1, pageToken });
      seen.push(...page.attempts.map(({ executionId }) => executionId));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(seen).toEqual([...ids].sort().reverse());
    const { attempts } = await desk.admin.listAttempts({ lane, type: 'work', outcomes: [AttemptOutcome.SUCCEEDED] });
    expect(attempts).toHaveLength(2);
    const [some] = attempts;
    if (!some?.startTime || !some.endTime) throw new Error('an ended attempt without times');
    expect(timestampDate(some.endTime).getTime()).toBeGreaterThanOrEqual(timestampDate(some.startTime).getTime());
    for (const claim of claims.slice(2)) await desk.hand.complete(claim);
  });

  it('asks for a subject', async () => {
    const { fieldViolations } = await refusal(desk.admin.listAttempts({}));
    expect(fieldViolations).toMatchObject([{ field: 'execution_id' }]);
  });
});
