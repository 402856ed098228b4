/** What sweepers do for flows and joins: how often they have to look, and what happens before they come. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { CancelMode } from '../../gen/tailrace/v1/cancel_pb.js';
import { FlowMilestone } from '../../gen/tailrace/v1/completion_service_pb.js';
import { ClaimNextMode } from '../../gen/tailrace/v1/engine_service_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, OnSatisfied } from '../../gen/tailrace/v1/join_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { leaseOf, ok, seconds, text } from '../support/by-hand.js';
import { FlowsByHand, type Link, type MadeFlow } from '../support/flows-by-hand.js';
import { HeldRows } from '../support/held-rows.js';
import { Recorded } from '../support/history/recorded.js';
import { HoldingProxy } from '../support/holding-proxy.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const long = { leaseDuration: seconds(600) };
const cancelRest = { mode: JoinMode.ANY, onSatisfied: OnSatisfied.CANCEL_REST };
const lost = { state: 'CANCELED', reason: EndReason.JOIN_SATISFIED };

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

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);
const sweeps = () => proxy.answered.filter((name) => name.startsWith('sweeping.') && name !== 'sweeping.pulse').length;

async function claimAll(flow: MadeFlow, type: string, count: number): Promise<Claim[]> {
  const claims: Claim[] = [];
  while (claims.length < count) {
    const taken = await hand.claim({ lanes: [{ lane: flow.lane }], types: [type], maxExecutions: 500, ...long });
    if (taken.length === 0) throw new Error(`${claims.length} of ${count} became claimable`);
    claims.push(...taken);
  }
  return claims;
}

test('a loser that fails before it is canceled is told that it is, and its times are forgotten', async () => {
  const flow = await hand.flow({
    members: { a: {}, b: { ttl: seconds(600) }, c: { deadlineTime: timestampFromMs(Date.now() + 600_000) }, last: {} },
    links: ['a', 'b', 'c'].map((name): Link => [name, 'last']),
    joins: { last: cancelRest },
  });
  const losers = [await flow.claim('b'), await flow.claim('c')];
  const held = proxy.hold('sweeping.follow-ups', 'before');
  await flow.complete('a');
  await held.reached;
  const told = await Promise.all(losers.map((claim) => hand.fail(claim, FailureClass.TRANSIENT)));
  held.release();
  expect(told.map(({ state }) => state)).toEqual([ExecutionState.CANCELED, ExecutionState.CANCELED]);
  expect(told.map(({ runTime }) => runTime)).toEqual([undefined, undefined]);
  for (const name of ['b', 'c']) expect(await flow.end(name)).toEqual(lost);
  await flow.complete('last');
  expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  // Among the rules of the tables: nothing that has ended has a timer.
  await recorded.judge();
});

test('a loser that would be skipped before it is canceled does not fail its flow', async () => {
  const flow = await hand.flow({
    members: { a: {}, bad: { optionalInFlow: true }, b: {}, last: {} },
    links: [
      ['a', 'last'],
      ['bad', 'b'],
      ['b', 'last'],
    ],
    joins: { last: cancelRest },
  });
  const bad = await flow.claim('bad');
  const held = proxy.hold('sweeping.follow-ups', 'before');
  await flow.complete('a');
  await held.reached;
  await hand.fail(bad, FailureClass.PERMANENT);
  held.release();
  expect(await flow.end('b')).toEqual(lost);
  await flow.complete('last');
  expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
});

test('the losers of many joins are canceled by a few sweeps, not by two at a time', async () => {
  const flow = await hand.flow({
    members: Object.fromEntries(
      numbers(90).flatMap((i) => ['winner', 'loser', 'last'].map((type) => [`${type} ${i}`, { type }])),
    ),
    links: numbers(90).flatMap((i) => ['winner', 'loser'].map((type): Link => [`${type} ${i}`, `last ${i}`])),
    joins: Object.fromEntries(numbers(90).map((i) => [`last ${i}`, cancelRest])),
  });
  const completions = (await claimAll(flow, 'winner', 90)).map((claim) => ({
    lease: leaseOf(claim),
    result: text('done'),
  }));
  const before = sweeps();
  for (const result of (await recorded.clients.engine.completeExecutions({ completions })).results) ok(result);
  for (const i of numbers(90)) expect(await flow.end(`loser ${i}`)).toEqual(lost);
  expect(sweeps() - before).toBeLessThan(40);
  for (const claim of await claimAll(flow, 'last', 90)) await hand.complete(claim);
  expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
});

test('a wide join over distinct sources decides although all of it fails at once', async () => {
  const wide = 4_000;
  const flow = await hand.flow({
    members: { ...Object.fromEntries(numbers(wide).map((i) => [`up ${i}`, { type: 'up' }])), last: {} },
    links: numbers(wide).map((i): Link => [`up ${i}`, 'last']),
    joins: { last: { mode: JoinMode.QUORUM, quorum: 2, distinctSources: true } },
  });
  const held = proxy.hold('sweeping.fillings', 'before');
  const failure = { failureClass: FailureClass.PERMANENT, message: 'it broke' };
  const claims = await claimAll(flow, 'up', wide);
  for (let i = 0; i < wide; i += 500) {
    const reports = claims.slice(i, i + 500).map((claim) => ({ lease: leaseOf(claim), failure }));
    for (const result of (await recorded.clients.engine.failExecutions({ reports })).results) ok(result);
  }
  await held.reached;
  held.release();
  // Source by source it took eleven seconds, and longer than a statement may at the widest.
  await hand.end(flow.of('last'), 10);
  expect(await flow.end('last')).toEqual({ state: 'SKIPPED', reason: EndReason.JOIN_IMPOSSIBLE });
  expect((await flow.ended()).state).toBe(FlowState.FAILED);
});

test("a join whose time is up is not looked at without a pause while its member is somebody else's", async () => {
  const flow = await hand.flow({
    members: { slow: {}, last: {} },
    links: [['slow', 'last']],
    joins: { last: { timeout: seconds(4) } },
  });
  const rows = await HeldRows.start(database);
  await rows.hold('blocked', 'execution', flow.of('last'));
  await hand.sweptAfter(4);
  const before = sweeps();
  await hand.sweptAfter(0.5);
  expect(sweeps() - before).toBeLessThan(40);
  await rows.release();
  expect(await flow.end('last')).toEqual({ state: 'FAILED', reason: EndReason.JOIN_EXPIRED });
  await flow.complete('slow');
  await flow.ended();
});

test('what was released too late to start is not handed over, and expires', async () => {
  const held = proxy.hold('sweeping.timers', 'before');
  const flow = await hand.flow({ members: { a: {}, late: { ttl: seconds(0.1) } }, links: [['a', 'late']] });
  const claim = await flow.claim('a');
  await held.reached;
  await hand.sweptAfter(0.2);
  const { claims } = await recorded.clients.engine.completeExecutions({
    completions: [{ lease: leaseOf(claim), result: text('done') }],
    claimNext: { mode: ClaimNextMode.SUCCESSORS, worker: hand.worker, lanes: [{ lane: flow.lane }], maxExecutions: 10 },
  });
  held.release();
  expect(claims).toEqual([]);
  expect((await flow.end('late')).state).toBe('EXPIRED');
  await flow.ended();
});

test('what was released for a worker whose inputs cannot be read goes back to its line', async () => {
  const flow = await hand.flow({ members: { a: {}, b: {} }, links: [['a', 'b']] });
  const claim = await flow.claim('a');
  const held = proxy.hold('claims.joined-inputs', 'before');
  const completed = recorded.clients.engine.completeExecutions({
    completions: [{ lease: leaseOf(claim), result: text('done') }],
    claimNext: { mode: ClaimNextMode.SUCCESSORS, worker: hand.worker, lanes: [{ lane: flow.lane }], maxExecutions: 10 },
  });
  await held.reached;
  held.cut();
  const { claims } = await completed;
  expect(claims).toEqual([]);
  expect((await flow.claim('b')).joinedInputs).toMatchObject([{ name: 'a' }]);
  await flow.cancel({ policy: { mode: CancelMode.NOW } });
  await flow.ended();
});

test('what follows from a lease that is revoked does not wait for the pulse', async () => {
  const flow = await hand.flow({ members: { stuck: {}, after: {} }, links: [['stuck', 'after']] });
  const { executionId } = await flow.claim('stuck', { leaseDuration: seconds(60) });
  await hand.cancel(executionId, { policy: { mode: CancelMode.COOPERATIVE, grace: seconds(60) } });
  const held = proxy.hold('sweeping.pulse', 'before');
  await held.reached;
  await recorded.clients.admin.revokeLease({ executionId, reason: 'it hangs' });
  const { done } = await recorded.clients.completion.awaitFlow({
    flowId: flow.id,
    until: FlowMilestone.ENDED,
    timeout: seconds(20),
  });
  held.release();
  expect(done).toBe(true);
  expect(await flow.end('stuck')).toEqual({ state: 'CANCELED', reason: EndReason.CANCEL_REQUESTED });
  expect((await flow.end('after')).state).toBe('SKIPPED');
});
