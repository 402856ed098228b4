/** Joins over edges: when each mode is satisfied or impossible, what becomes of the rest, and that each decides once. */
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { AttemptOutcome } from '../../gen/tailrace/v1/attempt_pb.js';
import { EndReason } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, JoinState, OnSatisfied, SlotOutcome } from '../../gen/tailrace/v1/join_pb.js';
import { refusal, seconds } from '../support/by-hand.js';
import { FlowsByHand, type Graph, type MadeFlow } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';

const { ANY, QUORUM } = JoinMode;
const { SATISFIED, IMPOSSIBLE, OPEN } = JoinState;

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

type Policy = NonNullable<Graph['joins']>[string];
type More = NonNullable<Graph['links']>[number][2];

/** `last` waits for a, b and c. */
async function three(policy: Policy = {}, more: Readonly<Record<string, More>> = {}): Promise<MadeFlow> {
  return await hand.flow({
    members: { a: {}, b: {}, c: {}, last: {} },
    links: ['a', 'b', 'c'].map((name) => [name, 'last', more[name] ?? {}] as const),
    joins: { last: policy },
  });
}

async function expectOpen(flow: MadeFlow): Promise<void> {
  expect((await flow.states('last'))['last']).toBe('BLOCKED');
  expect((await flow.join('last')).state).toBe(OPEN);
}

async function expectSkipped(flow: MadeFlow, name = 'last'): Promise<void> {
  expect(await flow.end(name)).toEqual({ state: 'SKIPPED', reason: EndReason.JOIN_IMPOSSIBLE });
  expect((await flow.join(name)).state).toBe(IMPOSSIBLE);
}

describe('all', () => {
  it('is satisfied when the last one has succeeded, whatever the order', async () => {
    const flow = await three();
    for (const name of ['c', 'a']) await flow.complete(name);
    await expectOpen(flow);
    await flow.complete('b');
    await flow.complete('last');
    expect(await flow.join('last')).toMatchObject({ state: SATISFIED, slotCount: 3, okCount: 3, lateCount: 0 });
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it('is impossible at the first required one that does not succeed', async () => {
    const flow = await three();
    await flow.fail('b');
    await expectSkipped(flow);
    // Those that nobody waits for any more go on, and their slots are recorded as late.
    await flow.complete('a');
    await flow.complete('c');
    expect((await flow.ended()).state).toBe(FlowState.FAILED);
    expect(await flow.join('last')).toMatchObject({ okCount: 2, failedCount: 1, lateCount: 2 });
  });

  it('waits for optional ones too, and does without their success', async () => {
    const flow = await three({}, { b: { optional: true } });
    await flow.complete('a');
    await flow.complete('c');
    await expectOpen(flow);
    await flow.fail('b');
    await flow.complete('last');
    expect(await flow.join('last')).toMatchObject({ state: SATISFIED, okCount: 2, failedCount: 1 });
    // The edge was optional; the member was not.
    expect((await flow.ended()).state).toBe(FlowState.FAILED);
  });

  it('is satisfied by optional ones alone, though none succeeded', async () => {
    const optional = { optional: true };
    const flow = await three({}, { a: optional, b: optional, c: optional });
    for (const name of ['a', 'b', 'c']) await flow.fail(name);
    await flow.complete('last');
    expect((await flow.join('last')).state).toBe(SATISFIED);
  });
});

describe('any', () => {
  it('is satisfied by the first success, and later ones are late', async () => {
    const flow = await three({ mode: ANY });
    await flow.fail('a');
    await expectOpen(flow);
    await flow.complete('b');
    await flow.complete('last');
    await flow.complete('c');
    expect(await flow.join('last')).toMatchObject({ state: SATISFIED, okCount: 2, failedCount: 1, lateCount: 1 });
    const { edges } = await recorded.clients.admin.listEdges({ executionId: flow.of('last') });
    expect(edges.map(({ outcome, late }) => [outcome, late])).toEqual([
      [SlotOutcome.FAILED, false],
      [SlotOutcome.OK, false],
      [SlotOutcome.OK, true],
    ]);
  });

  it('is impossible when none is left', async () => {
    const flow = await three({ mode: ANY });
    for (const name of ['a', 'b']) await flow.fail(name);
    await expectOpen(flow);
    await flow.fail('c');
    await expectSkipped(flow);
  });
});

describe('quorum', () => {
  it('is satisfied at so many successes', async () => {
    const flow = await three({ mode: QUORUM, quorum: 2 });
    await flow.fail('a');
    await flow.complete('b');
    await expectOpen(flow);
    await flow.complete('c');
    await flow.complete('last');
    expect((await flow.join('last')).state).toBe(SATISFIED);
  });

  it('is impossible when fewer than so many can still succeed', async () => {
    const flow = await three({ mode: QUORUM, quorum: 2 });
    await flow.fail('a');
    await flow.fail('b');
    await expectSkipped(flow);
    await flow.complete('c');
  });

  it('above its slots is refused, and nothing is stored', async () => {
    const { flows } = await recorded.clients.admin.listFlows({ pageSize: 1_000 });
    const { reason } = await refusal(three({ mode: QUORUM, quorum: 4 }));
    expect(reason).toBe('INVALID_FIELD');
    expect((await recorded.clients.admin.listFlows({ pageSize: 1_000 })).flows).toHaveLength(flows.length);
  });
});

describe('distinct sources', () => {
  const sources = { a: { source: 'north' }, b: { source: 'north' }, c: { source: 'south' } };
  const policy = { mode: QUORUM, quorum: 2, distinctSources: true };

  it('counts a source once', async () => {
    const flow = await three(policy, sources);
    await flow.complete('a');
    await flow.complete('b');
    await expectOpen(flow);
    await flow.complete('c');
    await flow.complete('last');
    expect((await flow.join('last')).state).toBe(SATISFIED);
  });

  it('gives a source up only with the last of it', async () => {
    const flow = await three(policy, sources);
    await flow.fail('a');
    await expectOpen(flow);
    await flow.fail('b');
    await expectSkipped(flow);
    await flow.complete('c');
  });

  it('takes an upstream for its own source unless told otherwise', async () => {
    const flow = await three(policy);
    await flow.complete('a');
    await flow.complete('b');
    await flow.complete('last');
    await flow.complete('c');
  });
});

describe('cancel the rest', () => {
  const policy = { mode: ANY, onSatisfied: OnSatisfied.CANCEL_REST };
  const lost = { state: 'CANCELED', reason: EndReason.JOIN_SATISFIED };

  it('ends who runs and who waits, and the flow succeeds without them', async () => {
    const flow = await three(policy);
    const running = await flow.claim('b');
    await flow.complete('a');
    expect(await flow.end('b')).toEqual(lost);
    expect(await flow.end('c')).toEqual(lost);
    const { reason } = await refusal(hand.complete(running));
    expect(['WRONG_STATE', 'EXECUTION_TERMINAL', 'LEASE_LOST']).toContain(reason);
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: flow.of('b') });
    expect(attempts.map(({ outcome }) => outcome)).toEqual([AttemptOutcome.CANCELED]);
    await flow.complete('last');
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
    expect(await flow.join('last')).toMatchObject({ state: SATISFIED, okCount: 1, failedCount: 2, lateCount: 2 });
  });

  it('refuses the completion of a loser from the moment it is satisfied', async () => {
    // Both in one call: whichever is recorded first wins alone.
    const flow = await three(policy);
    const claims = [await flow.claim('a'), await flow.claim('b')];
    await Promise.allSettled(claims.map((claim) => hand.complete(claim)));
    await flow.complete('last');
    const ends = await Promise.all(['a', 'b', 'c'].map((name) => flow.end(name)));
    expect(ends.filter(({ state }) => state === 'SUCCEEDED').length).toBeGreaterThan(0);
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it('does not touch who has ended, nor who waits for a loser otherwise than it must', async () => {
    const flow = await hand.flow({
      members: { slow: {}, quick: {}, first: {}, after: {} },
      links: [
        ['slow', 'first'],
        ['quick', 'first'],
        ['slow', 'after'],
      ],
      joins: { first: policy },
    });
    await flow.complete('quick');
    expect(await flow.end('slow')).toEqual(lost);
    await expectSkipped(flow, 'after');
    await flow.complete('first');
    // What needed the loser was skipped, and that was required.
    expect((await flow.ended()).state).toBe(FlowState.FAILED);
  });
});

describe('chains and times', () => {
  it('skips level by level what can no longer run', async () => {
    const flow = await hand.flow({
      members: { a: {}, b: {}, c: {}, d: {} },
      links: [
        ['a', 'b'],
        ['b', 'c'],
        ['c', 'd'],
      ],
    });
    await flow.fail('a');
    for (const name of ['b', 'c', 'd']) await expectSkipped(flow, name);
    const { edges } = await recorded.clients.admin.listEdges({ executionId: flow.of('d') });
    expect(edges).toMatchObject([{ outcome: SlotOutcome.SKIPPED }]);
  });

  it('releases into its delay what is not due yet', async () => {
    const flow = await hand.flow({ members: { a: {}, later: { delay: seconds(600) } }, links: [['a', 'later']] });
    await flow.complete('a');
    expect(await flow.states('later')).toEqual({ later: 'SCHEDULED' });
    await recorded.clients.admin.changeExecution({ executionId: flow.of('later'), runTime: seconds(1) });
    await flow.complete('later');
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it('tells of each decision once', async () => {
    const flow = await three();
    for (const name of ['a', 'b', 'c', 'last']) await flow.complete(name);
    await flow.ended();
    const { joinId } = await flow.join('last');
    const entry = await recorded.log.entry(({ subject }) => subject === joinId);
    expect(entry).toMatchObject({ executionId: flow.of('last'), flowId: flow.id });
    expect(entry.body).toMatchObject({ value: { join: joinId, slots: 3, ok: 3, failed: 0, skipped: 0 } });
  });
});

test('what depends on two may be named twice over, and one member may feed many', async () => {
  const fans = Array.from({ length: 70 }, (_, i) => `fan ${i}`);
  const flow = await hand.flow({
    members: { root: {}, last: {}, ...Object.fromEntries(fans.map((name) => [name, {}])) },
    links: fans.flatMap((name) => [['root', name] as const, [name, 'last'] as const]),
  });
  await flow.complete('root');
  for (const name of fans) await flow.complete(name);
  await flow.complete('last');
  expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  expect(await flow.join('last')).toMatchObject({ slotCount: 70, okCount: 70, lateCount: 0 });
});
