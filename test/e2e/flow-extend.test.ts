/** Flows that grow: members, edges and joins added to an open flow, also to upstreams that have ended. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EndReason } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import { JoinMode, JoinState } from '../../gen/tailrace/v1/join_pb.js';
import { leaseOf, refusal, seconds } from '../support/by-hand.js';
import { FlowsByHand, type Graph } from '../support/flows-by-hand.js';
import { HeldRows } from '../support/held-rows.js';
import { Recorded } from '../support/history/recorded.js';

let recorded: Recorded;
let hand: FlowsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new FlowsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

const open = async (graph: Graph) => await hand.flow(graph, { open: true });
const refused = async (call: Promise<unknown>) => (await refusal(call)).reason;

describe('an edge', () => {
  it('to an upstream that succeeded releases at once', async () => {
    const flow = await open({ members: { a: {} } });
    await flow.complete('a', 'of a');
    await flow.extend({ members: { b: {} }, links: [['a', 'b']] });
    expect(await flow.states('b')).toEqual({ b: 'QUEUED' });
    const claim = await flow.claim('b');
    expect(claim.joinedInputs).toMatchObject([{ payload: { body: { value: 'of a' } } }]);
    await hand.complete(claim);
    await flow.seal();
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it('to an upstream that failed skips at once', async () => {
    const flow = await open({ members: { a: {} } });
    await flow.fail('a');
    await flow.extend({
      members: { b: {}, c: {} },
      links: [
        ['a', 'b'],
        ['b', 'c'],
      ],
    });
    for (const name of ['b', 'c']) {
      expect(await flow.end(name)).toEqual({ state: 'SKIPPED', reason: EndReason.JOIN_IMPOSSIBLE });
    }
    expect((await flow.settled()).state).toBe(FlowState.IDLE);
  });

  it('to what runs waits for it', async () => {
    const flow = await open({ members: { a: {} } });
    const claim = await flow.claim('a');
    await flow.extend({ members: { b: {} }, links: [['a', 'b']] });
    expect(await flow.states('b')).toEqual({ b: 'BLOCKED' });
    await hand.complete(claim);
    await flow.complete('b');
  });

  it('between members that have not started holds the downstream back', async () => {
    const flow = await open({ members: { a: {}, b: {} } });
    await flow.extend({ links: [['a', 'b']] });
    expect(await flow.states()).toEqual({ a: 'QUEUED', b: 'BLOCKED' });
    await flow.complete('a');
    await flow.complete('b');
  });

  it('to a downstream that has started, or whose join is sealed, comes too late', async () => {
    const flow = await open({ members: { a: {}, b: {}, c: {} }, links: [['a', 'b']] });
    const claim = await flow.claim('c');
    expect(await refused(flow.extend({ members: { d: {} }, links: [['d', 'c']] }))).toBe('EDGE_TOO_LATE');
    expect(await refused(flow.extend({ members: { e: {} }, links: [['e', 'b']] }))).toBe('EDGE_TOO_LATE');
    await hand.complete(claim);
    expect(await refused(flow.extend({ links: [['a', 'c']] }))).toBe('EDGE_TOO_LATE');
    await flow.complete('a');
    await flow.complete('b');
    expect(Object.keys(await flow.states())).toEqual(['a', 'b', 'c']);
  });
});

describe('a join that is declared open', () => {
  const waits = { open: true, timeout: seconds(600) };

  it('takes edges by later calls, and decides once it is sealed', async () => {
    const flow = await open({ members: { a: {}, last: {} }, links: [['a', 'last']], joins: { last: waits } });
    await flow.complete('a');
    expect(await flow.join('last')).toMatchObject({ state: JoinState.OPEN, sealed: false, okCount: 1 });
    await flow.extend({ members: { b: {} }, links: [['b', 'last']] });
    await flow.extend({}, { sealJoins: [{ member: { case: 'executionId', value: flow.of('last') } }] });
    expect(await flow.join('last')).toMatchObject({ state: JoinState.OPEN, sealed: true, slotCount: 2 });
    await flow.complete('b');
    await flow.complete('last');
  });

  it('is sealed with its flow, and satisfied by that if nothing is missing', async () => {
    const flow = await open({ members: { a: {}, last: {} }, links: [['a', 'last']], joins: { last: waits } });
    await flow.complete('a');
    await flow.seal();
    await flow.complete('last');
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it('holds back a member that stands in line, also before it has an edge', async () => {
    const flow = await open({ members: { a: {}, last: {} } });
    await flow.extend({ joins: { last: waits } });
    expect(await flow.states('last')).toEqual({ last: 'BLOCKED' });
    await flow.extend({ links: [['a', 'last']] });
    await flow.seal();
    await flow.complete('a');
    expect((await flow.complete('last')).joinedInputs).toMatchObject([{ name: 'a' }]);
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it("decides although its member was somebody else's at the seal, and it itself right afterwards", async () => {
    const flow = await open({ members: { a: {}, last: {} }, links: [['a', 'last']], joins: { last: waits } });
    await flow.complete('a');
    // As a change of the member and an extension that is refused in the end would hold them.
    const rows = await HeldRows.start(recorded.tailrace.database);
    await rows.hold('blocked', 'execution', flow.of('last'));
    await flow.seal();
    await rows.hold('barrier', 'id', (await flow.join('last')).joinId);
    await hand.sweptAfter(0.1);
    await rows.release();
    await flow.complete('last');
    expect((await flow.ended()).state).toBe(FlowState.SUCCEEDED);
  });

  it('is impossible when it is sealed with more to wait for than it has', async () => {
    const policy = { ...waits, mode: JoinMode.QUORUM, quorum: 2 };
    const flow = await open({ members: { a: {}, last: {} }, links: [['a', 'last']], joins: { last: policy } });
    await flow.seal();
    expect(await flow.end('last')).toEqual({ state: 'SKIPPED', reason: EndReason.JOIN_IMPOSSIBLE });
    await flow.complete('a');
    expect((await flow.ended()).state).toBe(FlowState.FAILED);
  });
});

describe('the revision', () => {
  it('counts changes of the graph, and fences who saw another one', async () => {
    const flow = await open({ members: { a: {} } });
    expect(await flow.extend({ members: { b: {} } }, { expectedRevision: 1n })).toBe(2n);
    const detail = await refusal(flow.extend({ members: { c: {} } }, { expectedRevision: 1n }));
    expect(detail).toMatchObject({ reason: 'REVISION_CONFLICT', metadata: { current_revision: '2' } });
    const both = await Promise.allSettled([
      flow.extend({ members: { d: {} } }, { expectedRevision: 2n }),
      flow.extend({ members: { e: {} } }, { expectedRevision: 2n }),
    ]);
    expect(both.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect((await flow.get()).revision).toBe(3n);
    for (const name of flow.ids.keys()) await flow.complete(name);
  });

  it('of concurrent extensions without one counts each', async () => {
    const flow = await open({ members: { a: {} } });
    const names = Array.from({ length: 20 }, (_, i) => `b ${i}`);
    const revisions = await Promise.all(
      names.map((name) => flow.extend({ members: { [name]: {} }, links: [['a', name]] })),
    );
    expect(revisions.sort((x, y) => Number(x - y))).toEqual(names.map((_, i) => BigInt(i + 2)));
    await flow.complete('a');
    for (const name of names) await flow.complete(name);
  });
});

describe('a repeat', () => {
  it('with the same request id answers the first extension', async () => {
    const flow = await open({ members: { a: {} } });
    const extension = { members: { b: {} }, links: [['a', 'b'] as const] };
    await flow.extend(extension, { requestId: 'once' });
    const first = flow.of('b');
    flow.ids.delete('b');
    expect(await flow.extend(extension, { requestId: 'once' })).toBe(2n);
    expect(flow.of('b')).toBe(first);
    expect(await refused(flow.extend({ members: { c: {} } }, { requestId: 'once' }))).toBe('REQUEST_ID_REUSED');
    await flow.complete('a');
    await flow.complete('b');
  });
});

describe('a running member', () => {
  it('extends its own flow under its lease, and a stale one does not', async () => {
    const flow = await open({ members: { a: {} } });
    const stale = await flow.claim('a', { leaseDuration: seconds(1) });
    const claim = await flow.claim('a', { wait: seconds(10) });
    const extension = { members: { b: {} }, links: [['a', 'b'] as const] };
    expect(await refused(flow.extend(extension, { lease: leaseOf(stale) }))).toBe('LEASE_LOST');
    await flow.extend(extension, { lease: leaseOf(claim) });
    await hand.complete(claim);
    await flow.complete('b');
  });
});

describe('refusals store nothing', () => {
  it.each<[string, string, Graph]>([
    [
      'of a cycle',
      'CYCLE',
      {
        members: { x: {}, y: {} },
        links: [
          ['x', 'y'],
          ['y', 'x'],
        ],
      },
    ],
    [
      'of a cycle through a member',
      'CYCLE',
      {
        members: { x: {} },
        links: [
          ['b', 'x'],
          ['x', 'a'],
        ],
      },
    ],
    ['of an edge to itself', 'SELF_EDGE', { members: { x: {} }, links: [['x', 'x']] }],
    ['of an unknown name', 'INVALID_FIELD', { members: { x: {} }, links: [['nobody', 'x']] }],
  ])('%s', async (_, reason, graph) => {
    const waits = { open: true, timeout: seconds(600) };
    const flow = await open({ members: { a: {}, b: {} }, links: [['a', 'b']], joins: { b: waits } });
    const before = await flow.get();
    // The member named `a` can still take edges by a call that comes first.
    expect(await refused(flow.extend(graph))).toBe(reason);
    expect(await flow.get()).toMatchObject({ revision: before.revision });
    const { members } = await recorded.clients.admin.listFlowMembers({ flowId: flow.id });
    expect(members).toHaveLength(2);
    await flow.cancel();
    await flow.ended();
  });

  it('of a seal, when the flow never had a member', async () => {
    const flow = await open({});
    expect(await refused(flow.extend({}, { seal: true }))).toBe('WRONG_STATE');
    expect(await flow.get()).toMatchObject({ state: FlowState.ACTIVE, sealed: false });
    await flow.cancel();
    await flow.ended();
  });

  it('of a flow that is sealed, canceled or not there', async () => {
    const sealed = await hand.flow({ members: { a: {} } });
    expect(await refused(sealed.extend({ members: { b: {} } }))).toBe('FLOW_SEALED');
    await sealed.complete('a');
    const canceled = await open({ members: { a: {} } });
    await canceled.cancel();
    expect(await refused(canceled.extend({ members: { b: {} } }))).toBe('WRONG_STATE');
    const flowId = sealed.of('a');
    expect(await refused(recorded.clients.engine.extendFlow({ flowId, seal: true }))).toBe('FLOW_NOT_FOUND');
  });
});
