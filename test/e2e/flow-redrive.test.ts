/** Proof 37: a failed member runs again in its flow, and what was skipped because of it is made anew; what ran stays. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinState } from '../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { refusal } from '../support/by-hand.js';
import { FlowsByHand, type MadeFlow } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { ACTIVE, SUCCEEDED, FAILED } = FlowState;

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

async function letterOf(flow: MadeFlow, name: string): Promise<string> {
  return (await flow.look(name)).outcome?.deadLetterId ?? '';
}

async function redrive(flow: MadeFlow, name: string, more: object = {}) {
  const deadLetterId = await letterOf(flow, name);
  return await recorded.clients.deadLetters.redriveDeadLetter({ deadLetterId, ...more });
}

/** bad ─► middle ─► end, and good ─► middle; aside ran on its own. */
async function broken(): Promise<MadeFlow> {
  const flow = await hand.flow({
    members: { bad: {}, good: {}, aside: {}, middle: { tags: { kept: 'yes' } }, end: {} },
    links: [
      ['bad', 'middle'],
      ['good', 'middle', { name: 'the good one' }],
      ['middle', 'end'],
    ],
  });
  await flow.complete('good', 'of good');
  await flow.complete('aside');
  await flow.fail('bad');
  expect((await flow.ended()).state).toBe(FAILED);
  expect(await flow.states('middle', 'end')).toEqual({ middle: 'SKIPPED', end: 'SKIPPED' });
  return flow;
}

test('proof 37: the flow is active again, runs what was skipped with what is there, and succeeds', async () => {
  const flow = await broken();
  const { executionId, downstreamExecutionIds } = await redrive(flow, 'bad');
  expect(downstreamExecutionIds).toHaveLength(2);
  expect(await flow.get()).toMatchObject({ state: ACTIVE, settled: false });
  await recorded.log.entry(({ kind, flowId }) => kind === LogEntryKind.FLOW_REOPENED && flowId === flow.id);
  // Nothing that ran runs again: nothing but the redriven one is claimable.
  const claims = await hand.claim({ lanes: [{ lane: flow.lane }], maxExecutions: 10 });
  expect(claims.map((claim) => claim.executionId)).toEqual([executionId]);
  for (const claim of claims) await hand.complete(claim, 'of bad, at last');
  const middle = await flow.claim('middle');
  expect(downstreamExecutionIds).toContain(middle.executionId);
  expect(middle).toMatchObject({
    flowId: flow.id,
    tags: { kept: 'yes' },
    joinedInputs: [
      { name: 'bad', executionId, payload: { body: { value: 'of bad, at last' } } },
      { name: 'the good one', executionId: flow.of('good'), payload: { body: { value: 'of good' } } },
    ],
  });
  await hand.complete(middle);
  await flow.complete('end');
  expect(await flow.ended()).toMatchObject({ state: SUCCEEDED, settled: true, openDeadLetterCount: 0n });
  expect(await flow.states('bad', 'middle', 'end')).toEqual({ bad: 'FAILED', middle: 'SKIPPED', end: 'SKIPPED' });
});

test('proof 37: that fails again skips what was made anew, and can be redriven once more', async () => {
  const flow = await broken();
  for (const last of [false, true]) {
    const { executionId, downstreamExecutionIds } = await redrive(flow, 'bad');
    const claim = await hand.claimNamed(executionId);
    if (last) {
      await hand.complete(claim);
      await flow.complete('middle');
      await flow.complete('end');
    } else {
      await hand.fail(claim, 2);
      for (const id of downstreamExecutionIds) expect((await hand.end(id)).outcome?.state).toBe(11);
    }
    expect((await flow.ended()).state).toBe(last ? SUCCEEDED : FAILED);
  }
});

test('proof 37: two failures behind one join: it is made anew with each, and runs once both are well', async () => {
  const flow = await hand.flow({
    members: { a: {}, b: {}, last: {} },
    links: [
      ['a', 'last'],
      ['b', 'last'],
    ],
  });
  await flow.fail('a');
  await flow.fail('b');
  await flow.ended();
  const first = await redrive(flow, 'a');
  await hand.complete(await hand.claimNamed(first.executionId));
  // The other one is still what it was, so the join made anew is impossible at once.
  expect((await flow.ended()).state).toBe(FAILED);
  const second = await redrive(flow, 'b');
  await hand.complete(await hand.claimNamed(second.executionId));
  await flow.complete('last');
  expect((await flow.ended()).state).toBe(SUCCEEDED);
});

test('proof 37: detached it stands outside the flow, which stays as it was', async () => {
  const flow = await broken();
  const { executionId, downstreamExecutionIds } = await redrive(flow, 'bad', { detached: true });
  expect(downstreamExecutionIds).toEqual([]);
  const claim = await hand.claimNamed(executionId);
  expect(claim.flowId).toBe('');
  await hand.complete(claim);
  expect((await flow.get()).state).toBe(FAILED);
});

test('proof 37: in a canceled flow only a detached redrive is allowed', async () => {
  const flow = await hand.flow({ members: { bad: {}, other: {} } });
  await flow.fail('bad');
  await flow.cancel({ policy: { mode: CancelMode.NOW } });
  await flow.ended();
  expect((await refusal(redrive(flow, 'bad'))).reason).toBe('WRONG_STATE');
  const { executionId } = await redrive(flow, 'bad', { detached: true });
  await hand.complete(await hand.claimNamed(executionId));
});

test('proof 37: of two redrives at once one wins', async () => {
  const flow = await broken();
  const both = await Promise.allSettled([1, 2].map(() => redrive(flow, 'bad', { expectedVersion: 1n })));
  expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  await hand.complete(await hand.claimOne({ lanes: [{ lane: flow.lane }] }));
  await flow.complete('middle');
  await flow.complete('end');
  expect((await flow.ended()).state).toBe(SUCCEEDED);
  const { joins } = await recorded.clients.admin.listJoins({ flowId: flow.id, states: [JoinState.OPEN] });
  expect(joins).toEqual([]);
});
