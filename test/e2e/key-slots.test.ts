/** E14: the slot of a concurrency key: when it is given up, and to whom; and what becomes of those that wait for it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { BlockKind } from '../../gen/tailrace/v1/execution_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../gen/tailrace/v1/flow_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { Recorded } from '../support/history/recorded.js';
import { from, KeyedByHand } from '../support/keyed-by-hand.js';

const { BLOCKED, SCHEDULED, QUEUED } = ExecutionState;

let recorded: Recorded;
let hand: KeyedByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new KeyedByHand(recorded.clients);
});
afterAll(() => recorded.stop());

describe('a slot', () => {
  const gives = async (lane: string, way: (claim: Claim) => Promise<unknown>, becomes: ExecutionState) => {
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [first = '', second = ''] = await hand.keyed(lane, 2);
    const claim = await hand.claimOne({ ...from(lane), leaseDuration: seconds(60) });
    expect([claim.executionId, await hand.state(second)]).toEqual([first, BLOCKED]);
    await way(claim);
    expect([await hand.state(first), await hand.state(second)]).toEqual([becomes, QUEUED]);
    return { first, second };
  };

  it('is given up by what is delayed, and asked for again when it is due', async () => {
    const lane = 'delayed';
    const { first } = await gives(lane, (claim) => hand.delay(claim, { delay: seconds(600) }), SCHEDULED);
    await recorded.clients.admin.changeExecution({ executionId: first, runTime: seconds(Date.now() / 1_000 + 0.2) });
    await eventually(async () => (await hand.state(first)) === BLOCKED);
    await hand.drain(lane, 2);
  });

  it('is given up by what backs off', async () => {
    const lane = 'backing off';
    const back = (claim: Claim) => hand.fail(claim, FailureClass.TRANSIENT, { retryDelay: seconds(600) });
    const { first } = await gives(lane, back, SCHEDULED);
    await recorded.clients.admin.changeExecution({ executionId: first, runTime: seconds(1) });
    expect(await hand.state(first)).toBe(BLOCKED);
    await hand.drain(lane, 2);
  });

  it('is given up by what is parked, and asked for again by what goes on', async () => {
    const lane = 'parked';
    const { first } = await gives(lane, (claim) => hand.suspend(claim), ExecutionState.SUSPENDED);
    await hand.signal(first);
    expect(await hand.execution(first)).toMatchObject({
      state: BLOCKED,
      block: { kind: BlockKind.CONCURRENCY_KEY, subject: 'k' },
    });
    await hand.complete(await hand.claimOne(from(lane)));
    const resumed = await hand.claimOne(from(lane));
    expect(resumed).toMatchObject({ executionId: first, attemptNumber: 1, resume: { suspensionNumber: 1 } });
    await hand.complete(resumed);
  });

  it('is given up by a parent whose children have the same key', async () => {
    const lane = 'family';
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [parent = ''] = await hand.keyed(lane, 1);
    const children = ['a', 'b'].map((name) => ({ name, execution: { type: 'child', lane, concurrencyKey: 'k' } }));
    const { childExecutionIds: ids } = await hand.waitForChildren(await hand.claimOne(from(lane)), children);
    expect((await hand.statesOf(ids)).sort()).toEqual([BLOCKED, QUEUED]);
    expect([...(await hand.drain(lane, 2))].sort()).toEqual([...ids].sort());
    expect(await hand.drain(lane, 1)).toEqual([parent]);
  });

  it('is kept by what is released or fails at once', async () => {
    const lane = 'kept';
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [first = '', second = ''] = await hand.keyed(lane, 2);
    await hand.release(await hand.claimOne(from(lane)));
    await hand.fail(await hand.claimOne(from(lane)), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
    expect([await hand.state(first), await hand.state(second)]).toEqual([QUEUED, BLOCKED]);
    expect(await hand.drain(lane, 2)).toEqual([first, second]);
  });

  it('is not lost with a worker that dies', async () => {
    const lane = 'dead';
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const ids = await hand.keyed(lane, 2);
    await hand.claimOne({ ...from(lane), leaseDuration: seconds(1) });
    expect(await hand.drain(lane, 2)).toEqual(ids);
  });
});

describe('what waits for its key', () => {
  it('is canceled, expires and is put off like other waiting work', async () => {
    const lane = 'waiting';
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [first = ''] = await hand.keyed(lane, 1);
    const [canceled = ''] = await hand.keyed(lane, 1);
    const [expires = ''] = await hand.keyed(lane, 1, { ttl: seconds(0.2) });
    const [put = ''] = await hand.keyed(lane, 1);
    const [last = ''] = await hand.keyed(lane, 1);
    await hand.cancel(canceled);
    expect((await hand.end(expires)).outcome).toMatchObject({ state: ExecutionState.EXPIRED });
    expect(await refusal(hand.claimNamed(last))).toMatchObject({
      reason: 'WRONG_STATE',
      metadata: { state: 'BLOCKED' },
    });
    const later = { seconds: BigInt(Math.ceil(Date.now() / 1_000) + 600), nanos: 0 };
    await recorded.clients.admin.changeExecution({ executionId: put, runTime: later });
    expect(await hand.statesOf([first, canceled, put, last])).toEqual([
      QUEUED,
      ExecutionState.CANCELED,
      SCHEDULED,
      BLOCKED,
    ]);
    await hand.cancel(first);
    expect(await hand.state(last)).toBe(QUEUED);
    await recorded.clients.admin.changeExecution({ executionId: put, runTime: seconds(1) });
    expect(await hand.state(put)).toBe(BLOCKED);
    expect(await hand.drain(lane, 2)).toEqual([last, put]);
  });

  it('ends with its deadline', async () => {
    const lane = 'deadline';
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const [first = ''] = await hand.keyed(lane, 1);
    const deadlineTime = { seconds: BigInt(Math.floor(Date.now() / 1_000) + 5), nanos: 0 };
    const [late = ''] = await hand.keyed(lane, 1, { deadlineTime });
    expect((await hand.end(late)).outcome).toMatchObject({ reason: EndReason.DEADLINE });
    expect(await hand.drain(lane, 1)).toEqual([first]);
  });

  it('stands behind its key only once its join is satisfied, and ends with its flow', async () => {
    const member = { concurrencyKey: 'k' };
    const flow = await hand.flow({
      members: { a: {}, b: member, c: member, d: member },
      links: [
        ['a', 'b'],
        ['a', 'c'],
        ['b', 'd'],
      ],
    });
    await hand.setLane(flow.lane, { defaultKeyLimit: 1 });
    const kinds = async () =>
      (await Promise.all(['b', 'c', 'd'].map((name) => hand.execution(flow.of(name))))).map(
        ({ state, block }) => block?.kind ?? state,
      );
    expect(await kinds()).toEqual([BlockKind.JOIN, BlockKind.JOIN, BlockKind.JOIN]);
    await flow.complete('a');
    await eventually(async () => (await kinds()).includes(QUEUED));
    const inLine = (await kinds())[0] === QUEUED ? 'b' : 'c';
    expect((await kinds()).filter((kind) => kind === BlockKind.CONCURRENCY_KEY)).toHaveLength(1);
    await flow.complete(inLine);
    await flow.complete(inLine === 'b' ? 'c' : 'b');
    await flow.complete('d');
    expect(await flow.ended()).toMatchObject({ state: FlowState.SUCCEEDED });

    const canceled = await hand.flow({ members: { a: member, b: member, c: member } });
    await hand.setLane(canceled.lane, { defaultKeyLimit: 1 });
    await canceled.cancel();
    await canceled.ended();
    expect(new Set(await hand.statesOf([...canceled.ids.values()]))).toEqual(new Set([ExecutionState.CANCELED]));
  });
});
