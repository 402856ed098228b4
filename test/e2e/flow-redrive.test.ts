/** Proof 37: a failed member runs again in its flow, and what was skipped because of it is made anew; what ran stays. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowFailurePolicy, FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinState } from '../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { leaseOf, only, refusal } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand, type MadeFlow } from '../support/flows-by-hand.js';
import { HeldCommits } from '../support/held-commits.js';
import { HeldRows } from '../support/held-rows.js';
import { Recorded } from '../support/history/recorded.js';
import { HoldingProxy } from '../support/holding-proxy.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const { ACTIVE, SUCCEEDED, FAILED } = FlowState;

let database: TestDatabase;
let proxy: HoldingProxy;
let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  database = await freshDatabase();
  const before = await HoldingProxy.before(database.url);
  proxy = before.proxy;
  recorded = await Recorded.start({ database, environment: { DATABASE_URL: before.url } });
  hand = new FlowsByHand(recorded.clients);
});
afterAll(async () => {
  await recorded.stop();
  await proxy.close();
  await database.drop();
});

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

test('a detached redrive in between does not cut off what a later one in the flow makes anew', async () => {
  const flow = await broken();
  const detached = await redrive(flow, 'bad', { detached: true });
  await hand.fail(await hand.claimNamed(detached.executionId), 2);
  const { executionId, downstreamExecutionIds } = await redrive(flow, 'bad');
  expect(downstreamExecutionIds).toHaveLength(2);
  await hand.complete(await hand.claimNamed(executionId));
  await flow.complete('middle');
  await flow.complete('end');
  expect(await flow.ended()).toMatchObject({ state: SUCCEEDED, openDeadLetterCount: 0n });
});

test('what another upstream ended as while its downstream was made anew is not lost', async () => {
  const flow = await hand.flow({
    members: { bad: {}, slow: {}, last: {} },
    links: [
      ['bad', 'last'],
      ['slow', 'last'],
    ],
  });
  const slow = await flow.claim('slow');
  await flow.fail('bad');
  await flow.end('last');
  const held = proxy.hold('dead-letters.redo-skipped', 'after');
  const redriven = redrive(flow, 'bad');
  await held.reached;
  // The end of the other one meets the redrive before its commit; whether it waits for it or not is its own affair.
  const ends = () => proxy.answered.filter((name) => name === 'leases.end').length;
  const before = ends();
  const completed = hand.complete(slow, 'of slow');
  await eventually(() => ends() > before);
  held.release();
  const [{ executionId }] = await Promise.all([redriven, completed]);
  await hand.complete(await hand.claimNamed(executionId));
  const last = await flow.claim('last');
  expect(last.joinedInputs).toMatchObject([{ name: 'bad' }, { payload: { body: { value: 'of slow' } } }]);
  await hand.complete(last);
  expect((await flow.ended()).state).toBe(SUCCEEDED);
});

test('what was not skipped yet at the redrive is not skipped for good after it', async () => {
  const flow = await hand.flow({
    members: { bad: {}, middle: {}, end: {} },
    links: [
      ['bad', 'middle'],
      ['middle', 'end'],
    ],
  });
  const rows = await HeldRows.start(database);
  await rows.hold('barrier', 'id', (await flow.join('end')).joinId);
  await flow.fail('bad');
  await flow.end('middle');
  expect(await flow.states('end')).toEqual({ end: 'BLOCKED' });
  const early = await redrive(flow, 'bad').catch((error: unknown) => refusal(Promise.reject(error)));
  await rows.release();
  if ('reason' in early) expect(early.reason).toBe('CONTENTION');
  await flow.end('end');
  const { executionId, downstreamExecutionIds } = 'reason' in early ? await redrive(flow, 'bad') : early;
  expect(downstreamExecutionIds).toHaveLength(2);
  await hand.complete(await hand.claimNamed(executionId));
  await flow.complete('middle');
  await flow.complete('end');
  expect((await flow.ended()).state).toBe(SUCCEEDED);
});

test('what a flow that fails fast had begun to cancel does not take the redriven run with it', async () => {
  const flow = await hand.flow(
    { members: { bad: {}, waits: {}, other: { optionalInFlow: true } } },
    { failurePolicy: FlowFailurePolicy.CANCEL_REST },
  );
  // Somebody has it, so the cancel passes it over and comes back for it.
  const rows = await HeldRows.start(database);
  await rows.hold('ready', 'execution', flow.of('waits'));
  await flow.fail('bad');
  expect((await flow.end('other')).state).toBe('CANCELED');
  const { executionId } = await redrive(flow, 'bad');
  await hand.sweptAfter(0.1);
  expect(await hand.state(executionId)).toBe(ExecutionState.QUEUED);
  await rows.release();
  await hand.complete(await hand.claimNamed(executionId));
  await flow.complete('waits');
  expect((await flow.ended()).state).toBe(SUCCEEDED);
});

test('what happened while a flow failed fast starts nothing in it, also when a redrive lets it go on', async () => {
  const { admin, engine } = recorded.clients;
  const name = 'told of a failing flow';
  await admin.putSubscription({ subscription: { name, type: name, lane: name, filter: { eventTypes: [name] } } });
  const flow = await hand.flow(
    { members: { bad: {}, slow: { optionalInFlow: true } } },
    { failurePolicy: FlowFailurePolicy.CANCEL_REST },
  );
  const slow = await flow.claim('slow');
  await flow.fail('bad');
  await engine.publishEvents({ events: [{ type: name, flowId: flow.id }] });
  const { executionId } = await redrive(flow, 'bad');
  await hand.complete(await hand.claimNamed(executionId));
  await hand.cancel(slow.executionId, { lease: leaseOf(slow) });
  expect((await flow.ended()).state).toBe(SUCCEEDED);
  expect((await admin.listExecutions({ filter: { subscription: name } })).executions).toEqual([]);
});

test('what a redrive makes anew is not canceled by what began to look before the redrive was committed', async () => {
  const flow = await hand.flow(
    { members: { bad: {}, next: {}, waits: {}, other: { optionalInFlow: true } }, links: [['bad', 'next']] },
    { failurePolicy: FlowFailurePolicy.CANCEL_REST },
  );
  // The cancel comes back for it every few milliseconds.
  const rows = await HeldRows.start(database);
  await rows.hold('ready', 'execution', flow.of('waits'));
  await flow.fail('bad');
  expect((await flow.end('next')).state).toBe('SKIPPED');
  await flow.end('other');
  const commits = await HeldCommits.of('flow_live', database);
  const redriving = redrive(flow, 'bad');
  await eventually(() => commits.keepWaiting());
  // Behind the redrive, and before whoever looks what is to be canceled.
  const [table, watch] = [await HeldRows.start(database), await HeldRows.start(database)];
  const alone = table.keepFrom('flow_live');
  await eventually(() => watch.keepsWaiting('sweep_follow_ups'));
  const gone = commits.letGo();
  const { executionId, downstreamExecutionIds } = await redriving;
  await alone;
  await table.release();
  await gone;
  await watch.release();
  await hand.sweptAfter(0.1);
  expect(await hand.state(executionId)).toBe(ExecutionState.QUEUED);
  expect(await hand.state(only(downstreamExecutionIds))).toBe(ExecutionState.BLOCKED);
  await rows.release();
});
