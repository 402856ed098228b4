/** Where a flow stands: active, idle, ended well or not, and who counts for that. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { EndReason } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowFailurePolicy, FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { refusal, seconds } from '../support/by-hand.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { ACTIVE, IDLE, SUCCEEDED, FAILED } = FlowState;

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

describe('an open flow', () => {
  it('is idle when nothing of it is live, and active again with the next member', async () => {
    const flow = await hand.flow({ members: { a: {} } }, { open: true });
    expect(await flow.get()).toMatchObject({ state: ACTIVE, settled: false, sealed: false, revision: 1n });
    await flow.complete('a');
    expect(await flow.settled()).toMatchObject({ state: IDLE, settled: true, sealed: false });
    expect(await flow.extend({ members: { b: {} } })).toBe(2n);
    expect(await flow.get()).toMatchObject({ state: ACTIVE, settled: false });
    await flow.complete('b');
    expect((await flow.settled()).state).toBe(IDLE);
    await flow.seal();
    expect(await flow.ended()).toMatchObject({ state: SUCCEEDED, settled: true, sealed: true });
  });

  it('takes a member by CreateExecutions', async () => {
    const flow = await hand.flow({ members: { a: {} } }, { open: true });
    const id = await hand.createOne({ type: 'b', lane: flow.lane, flowId: flow.id });
    await flow.complete('a');
    expect((await flow.get()).settled).toBe(false);
    await flow.complete('b');
    expect((await flow.settled()).state).toBe(IDLE);
    const { members } = await recorded.clients.admin.listFlowMembers({ flowId: flow.id });
    expect(members.map(({ executionId }) => executionId)).toEqual([flow.of('a'), id]);
    await flow.seal();
    const { reason } = await refusal(hand.createOne({ flowId: flow.id }));
    expect(reason).toBe('FLOW_SEALED');
  });

  it('stays idle, and seals itself in time, when a member is created once more', async () => {
    // Sealed, it would refuse other content for that.
    const flow = await hand.flow({ members: { a: {} } }, { open: true, sealAfterIdle: seconds(3) });
    const again = { type: 'b', lane: flow.lane, flowId: flow.id, requestId: `once in ${flow.id}` };
    const id = await hand.createOne(again);
    for (const name of ['a', 'b']) await flow.complete(name);
    await flow.settled();
    expect(await hand.createOne(again)).toBe(id);
    const { reason } = await refusal(hand.createOne({ ...again, type: 'another' }));
    expect(reason).toBe('REQUEST_ID_REUSED');
    expect(await flow.get()).toMatchObject({ state: expect.toBeOneOf([IDLE, SUCCEEDED]), settled: true });
    expect(await flow.ended()).toMatchObject({ state: SUCCEEDED, sealed: true });
  });

  it('has no member, and does not succeed, when the only one was refused', async () => {
    const flow = await hand.flow({}, { open: true });
    const requestId = `used before ${flow.id}`;
    await hand.cancel(await hand.createOne({ requestId }));
    expect((await refusal(hand.createOne({ requestId, flowId: flow.id }))).reason).toBe('REQUEST_ID_REUSED');
    expect((await refusal(flow.seal())).reason).toBe('WRONG_STATE');
    expect(await flow.get()).toMatchObject({ state: ACTIVE, settled: false });
  });

  it('without a member is neither settled nor to be sealed', async () => {
    const flow = await hand.flow({}, { open: true });
    expect(await flow.get()).toMatchObject({ state: ACTIVE, settled: false });
    expect((await refusal(flow.seal())).reason).toBe('WRONG_STATE');
    await flow.extend({ members: { a: {} } }, { seal: true });
    await flow.complete('a');
    expect((await flow.ended()).state).toBe(SUCCEEDED);
  });

  it('seals itself once it has been idle for so long', async () => {
    const flow = await hand.flow({ members: { a: {} } }, { open: true, sealAfterIdle: seconds(1) });
    await flow.complete('a');
    expect(await flow.ended()).toMatchObject({ state: SUCCEEDED, sealed: true });
    await recorded.log.entry(({ kind, flowId }) => kind === LogEntryKind.FLOW_SEALED && flowId === flow.id);
  });

  it('is active while something waits, and sealed while something runs', async () => {
    const flow = await hand.flow({ members: { a: {}, b: {} }, links: [['a', 'b']] }, { open: true });
    await flow.complete('a');
    const claim = await flow.claim('b');
    await flow.seal();
    expect(await flow.get()).toMatchObject({ state: ACTIVE, settled: false, sealed: true });
    await hand.complete(claim);
    expect((await flow.ended()).state).toBe(SUCCEEDED);
  });
});

describe('a sealed flow', () => {
  it.each([
    ['that had only required members, one of which failed, failed', {}, FAILED],
    ['whose failed member was optional succeeded', { optionalInFlow: true }, SUCCEEDED],
  ])('%s', async (_, spec, state) => {
    const flow = await hand.flow({ members: { good: {}, bad: spec } });
    await flow.fail('bad');
    expect((await flow.get()).state).toBe(ACTIVE);
    await flow.complete('good');
    expect((await flow.ended()).state).toBe(state);
  });

  it.each<[string, object, (flow: Awaited<ReturnType<FlowsByHand['flow']>>) => Promise<unknown>]>([
    ['was canceled', {}, async (flow) => hand.cancel(flow.of('bad'))],
    ['expired', { ttl: seconds(0.2) }, async (flow) => flow.end('bad')],
  ])('fails when a required member %s', async (_, spec, end) => {
    const flow = await hand.flow({ members: { good: {}, bad: spec } });
    await end(flow);
    await flow.complete('good');
    const ended = await flow.ended();
    expect(ended).toMatchObject({ state: FAILED, firstFailure: { executionId: flow.of('bad') } });
  });

  it('names its first failure and its last', async () => {
    const flow = await hand.flow({ members: { a: {}, b: {}, after: {} }, links: [['a', 'after']] });
    await flow.fail('a');
    await flow.end('after');
    await flow.fail('b');
    expect(await flow.ended()).toMatchObject({
      state: FAILED,
      firstFailure: { executionId: flow.of('a'), reason: EndReason.PERMANENT, type: 'a' },
      lastFailure: { executionId: flow.of('b'), reason: EndReason.PERMANENT },
      openDeadLetterCount: 2n,
      openJoinCount: 0n,
    });
  });

  it('settles once, and the log says so after its last end', async () => {
    const flow = await hand.flow({ members: { a: {}, b: {}, c: {} } });
    await Promise.all(['a', 'b', 'c'].map((name) => flow.complete(name)));
    await flow.ended();
    const settled = await recorded.log.entry(
      ({ kind, flowId }) => kind === LogEntryKind.FLOW_SETTLED && flowId === flow.id,
    );
    expect(settled.body).toMatchObject({ value: { state: SUCCEEDED } });
    const told = recorded.log.entries.filter(({ flowId }) => flowId === flow.id);
    expect(told.at(-1)).toBe(settled);
    expect(told.filter(({ kind }) => kind === LogEntryKind.FLOW_SETTLED)).toHaveLength(1);
  });
});

describe('a flow that fails fast', () => {
  const failFast = { failurePolicy: FlowFailurePolicy.CANCEL_REST, cancelPolicy: { mode: CancelMode.NOW } };
  const canceled = { state: 'CANCELED', reason: EndReason.FLOW_CANCELED };

  it('cancels the rest with the first required failure, and has failed', async () => {
    const flow = await hand.flow(
      { members: { bad: {}, runs: {}, waits: {}, after: {} }, links: [['waits', 'after']] },
      failFast,
    );
    await flow.claim('runs');
    await flow.fail('bad');
    for (const name of ['runs', 'waits', 'after']) expect(await flow.end(name)).toEqual(canceled);
    const ended = await flow.ended();
    expect(ended).toMatchObject({ state: FAILED, firstFailure: { executionId: flow.of('bad') } });
  });

  it('takes no more and has ended, also when it was open', async () => {
    const flow = await hand.flow({ members: { bad: {}, waits: {} } }, { ...failFast, open: true });
    await flow.fail('bad');
    expect(await flow.ended()).toMatchObject({ state: FAILED, settled: true, sealed: true });
    expect((await refusal(flow.extend({ members: { c: {} } }))).reason).toMatch(/^(WRONG_STATE|FLOW_SEALED)$/);
  });

  it('lets optional members fail', async () => {
    const flow = await hand.flow({ members: { bad: { optionalInFlow: true }, good: {} } }, failFast);
    await flow.fail('bad');
    await flow.complete('good');
    expect((await flow.ended()).state).toBe(SUCCEEDED);
  });

  it('lets who runs end as it may, where its policy asks first', async () => {
    const flow = await hand.flow(
      { members: { bad: {}, runs: {} } },
      { ...failFast, cancelPolicy: { mode: CancelMode.COOPERATIVE, grace: seconds(60) } },
    );
    const claim = await flow.claim('runs', { leaseDuration: seconds(60) });
    await flow.fail('bad');
    await recorded.log.entry(
      ({ kind, executionId }) => kind === LogEntryKind.EXECUTION_CANCEL_REQUESTED && executionId === claim.executionId,
    );
    expect((await hand.renew(claim)).cancelRequest).toBeDefined();
    await hand.complete(claim);
    expect((await flow.ended()).state).toBe(FAILED);
  });
});
