/** SuspendExecution: an attempt is parked without a lease, and goes on when its condition holds. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptOutcome } from '../../gen/tailrace/v1/attempt_pb.js';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import {
  CountDistinct,
  ResumeCause,
  SignalEffect,
  SignalSource,
  SuspensionReason,
  WaitpointState,
} from '../../gen/tailrace/v1/signal_pb.js';
import { leaseOf, only, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { allOf, named, timeoutOnly, WaitsByHand } from '../support/waits-by-hand.js';

const { BLOCKED, SUSPENDED, QUEUED, RUNNING, SCHEDULED, CANCELED } = ExecutionState;
const { SATISFIED, APPENDED, BUFFERED } = SignalEffect;
const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: WaitsByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = new WaitsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

async function running(spec = {}) {
  return await hand.claimNamed(await hand.createOne(spec), long);
}

describe('a suspended execution', () => {
  it('has given its lease up, and goes on with the same attempt under a higher token', async () => {
    const claim = await running();
    const { executionId } = claim;
    const answer = await hand.suspend(claim, { reason: SuspensionReason.APPROVAL, note: 'the third invoice' });
    expect(answer).toMatchObject({ suspended: true, suspensionNumber: 1, duplicate: false, signals: [] });
    expect(answer.timeoutTime).toBeUndefined();
    expect(await hand.state(executionId)).toBe(SUSPENDED);
    for (const call of [() => hand.renew(claim), () => hand.complete(claim), () => hand.progress(claim, 1)]) {
      expect((await refusal(call())).reason).toBe('LEASE_LOST');
    }
    expect((await hand.execution(executionId)).suspension).toMatchObject({
      suspensionNumber: 1,
      reason: SuspensionReason.APPROVAL,
      note: 'the third invoice',
      condition: named('go'),
    });
    expect((await hand.signal(executionId, 'other')).effect).toBe(APPENDED);
    const sent = { source: SignalSource.HUMAN, sourceId: 'ann@example.org', payload: text('yes') };
    const signal = await hand.signal(executionId, 'go', sent);
    expect(signal.effect).toBe(SATISFIED);
    expect(await hand.state(executionId)).toBe(QUEUED);
    const next = await hand.claimNamed(executionId, long);
    expect(next).toMatchObject({
      attemptNumber: 1,
      attemptKind: claim.attemptKind,
      failureCount: 0,
      resume: {
        cause: ResumeCause.SATISFIED,
        suspensionNumber: 1,
        moreSignals: false,
        signals: [
          { signalId: signal.signalId, name: 'go', ...sent, waitpointKey: '', payload: { body: { value: 'yes' } } },
        ],
      },
    });
    expect(next.lease?.fencingToken ?? 0n).toBeGreaterThan(claim.lease?.fencingToken ?? 0n);
    expect(await hand.matched(next)).toEqual(next.resume?.signals);
    await hand.complete(next);
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId });
    expect(only(attempts)).toMatchObject({ attemptNumber: 1, outcome: AttemptOutcome.SUCCEEDED });
  });

  it('may be suspended again and again, and each time uses signals of its own', async () => {
    const claim = await running();
    const { executionId } = claim;
    for (const value of ['one', 'two']) await hand.signal(executionId, 'go', { payload: text(value) });
    const first = await hand.suspend(claim);
    expect(first).toMatchObject({
      suspended: false,
      suspensionNumber: 1,
      signals: [{ payload: { body: { value: 'one' } } }],
    });
    const second = await hand.suspend(claim);
    expect(second).toMatchObject({
      suspended: false,
      suspensionNumber: 2,
      signals: [{ payload: { body: { value: 'two' } } }],
    });
    expect(await hand.suspend(claim)).toMatchObject({ suspended: true, suspensionNumber: 3 });
    await hand.signal(executionId, 'go', { payload: text('three') });
    const next = await hand.claimNamed(executionId, long);
    expect(next.resume).toMatchObject({ suspensionNumber: 3, signals: [{ payload: { body: { value: 'three' } } }] });
    expect(await hand.matched(next, 1)).toMatchObject([{ payload: { body: { value: 'one' } } }]);
    expect(await hand.matched(next, 2)).toMatchObject([{ payload: { body: { value: 'two' } } }]);
    expect(await hand.matched(next, 4)).toEqual([]);
    await hand.complete(next);
  });

  it('waits for all of several, and for so many distinct ones', async () => {
    const among = ['a', 'b', 'c'].map((waitpointKey) => ({ waitpointKey }));
    const votes = { condition: { case: 'count' as const, value: { count: 2, distinct: CountDistinct.SOURCES } } };
    const places = {
      condition: { case: 'count' as const, value: { count: 2, distinct: CountDistinct.WAITPOINTS, among } },
    };
    const claim = await running();
    const { executionId } = claim;
    const waitpoints = among.map(({ waitpointKey: key }) => ({ key }));
    const parked = await hand.suspend(claim, { condition: allOf(named('go'), votes, places), waitpoints });
    expect(parked.waitpoints).toMatchObject(
      waitpoints.map((waitpoint) => ({ ...waitpoint, executionId, state: WaitpointState.ACTIVE, signalCount: 0 })),
    );
    const effects: SignalEffect[] = [];
    for (const [name, sourceId, waitpointKey] of [
      ['go', 'ann', ''],
      ['vote', 'ann', 'a'],
      ['vote', 'ann', 'a'],
      ['vote', 'bob', 'a'],
      ['vote', 'cyd', 'c'],
    ] as const) {
      effects.push((await hand.signal(executionId, name, { sourceId, waitpointKey })).effect);
    }
    expect(effects).toEqual([APPENDED, APPENDED, APPENDED, APPENDED, SATISFIED]);
    const next = await hand.claimNamed(executionId, long);
    // The first of each source, the first of each waitpoint, the first of the name; the repeat is left.
    expect(next.resume?.signals.map(({ sourceId, waitpointKey }) => [sourceId, waitpointKey])).toEqual([
      ['ann', ''],
      ['ann', 'a'],
      ['bob', 'a'],
      ['cyd', 'c'],
    ]);
    expect(await hand.suspend(next, { condition: named('vote') })).toMatchObject({
      suspended: false,
      signals: [{ sourceId: 'ann', waitpointKey: 'a' }],
    });
    await hand.complete(next);
  });

  it('goes on after its resume delay', async () => {
    const lane = 'resumed later';
    const [claim, other] = [await running({ lane }), await running({ lane })];
    const { executionId } = claim;
    await hand.suspend(other, { resumeDelay: seconds(600) });
    expect((await hand.signal(other.executionId)).effect).toBe(SATISFIED);
    expect(await hand.state(other.executionId)).toBe(SCHEDULED);
    await hand.suspend(claim, { resumeDelay: seconds(1) });
    expect((await hand.signal(executionId)).effect).toBe(SATISFIED);
    const next = await hand.claimOne({ lanes: [{ lane }], wait: seconds(20) });
    expect(next).toMatchObject({ executionId, attemptNumber: 1, resume: { suspensionNumber: 1 } });
    expect(await hand.state(other.executionId)).toBe(SCHEDULED);
    await hand.cancel(other.executionId);
    await hand.complete(next);
  });

  it('can be canceled, and its attempt ends with it', async () => {
    const claim = await running();
    const { executionId } = claim;
    await hand.suspend(claim, { waitpoints: [{ key: 'open' }] });
    await hand.cancel(executionId);
    expect((await hand.end(executionId)).outcome?.state).toBe(CANCELED);
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId });
    expect(only(attempts)).toMatchObject({ attemptNumber: 1, outcome: AttemptOutcome.CANCELED });
    expect((await refusal(hand.signal(executionId))).reason).toBe('EXECUTION_TERMINAL');
  });
});

describe('a suspension', () => {
  it('that is repeated answers as the first time until the attempt goes on', async () => {
    const claim = await running();
    const { executionId } = claim;
    const asked = { waitpoints: [{ key: 'w' }], condition: named('', 'w'), timeout: seconds(3_600) };
    const first = await hand.suspend(claim, asked);
    const again = await hand.suspend(claim, asked);
    expect(again).toEqual({ ...first, duplicate: true });
    expect((await refusal(hand.suspend(claim, { ...asked, note: 'else' }))).metadata).toMatchObject({
      why: 'other_content',
    });
    await hand.signal(executionId, 'x', { waitpointKey: 'w' });
    // Released, and not claimed yet.
    expect(await hand.suspend(claim, asked)).toMatchObject({
      suspended: true,
      duplicate: true,
      timeoutTime: first.timeoutTime,
      waitpoints: [{ key: 'w', token: first.waitpoints[0]?.token, state: WaitpointState.CLOSED }],
    });
    const next = await hand.claimNamed(executionId, long);
    expect((await refusal(hand.suspend(claim, asked))).metadata).toMatchObject({ why: 'superseded' });
    await hand.complete(next);
    expect((await refusal(hand.suspend(claim, asked))).reason).toBe('EXECUTION_TERMINAL');
  });

  it('of a newer attempt ends the repeats of the one before it', async () => {
    const claim = await running();
    await hand.delay(claim, { delay: seconds(0) });
    const next = await hand.claimNamed(claim.executionId, long);
    await hand.suspend(next);
    expect(await refusal(hand.delay(claim, { delay: seconds(0) }))).toMatchObject({
      reason: 'LEASE_LOST',
      metadata: { why: 'superseded' },
    });
  });

  it('that held at once is known again by its idempotency key alone', async () => {
    const claim = await running();
    const { executionId } = claim;
    for (let i = 0; i < 3; i++) await hand.signal(executionId);
    const first = await hand.suspend(claim, { idempotencyKey: 'once' });
    expect(first).toMatchObject({ suspended: false, suspensionNumber: 1, duplicate: false });
    expect(await hand.suspend(claim, { idempotencyKey: 'once' })).toEqual({ ...first, duplicate: true });
    const other = hand.suspend(claim, { idempotencyKey: 'once', note: 'else' });
    expect((await refusal(other)).reason).toBe('REQUEST_ID_REUSED');
    expect(await hand.suspend(claim)).toMatchObject({ suspended: false, suspensionNumber: 2, duplicate: false });
    expect(await hand.suspend(claim)).toMatchObject({ suspended: false, suspensionNumber: 3, duplicate: false });
    await hand.complete(claim);
  });

  it('needs waitpoints that are there and open', async () => {
    const claim = await running();
    const { executionId } = claim;
    const missing = await refusal(hand.suspend(claim, { condition: named('', 'nowhere') }));
    expect(missing).toMatchObject({ reason: 'WAITPOINT_NOT_FOUND', metadata: { waitpoint_key: 'nowhere' } });
    expect(await hand.suspend(claim, { condition: named('', 'w'), waitpoints: [{ key: 'w' }] })).toMatchObject({
      suspended: true,
    });
    await hand.signal(executionId, 'x', { waitpointKey: 'w' });
    const next = await hand.claimNamed(executionId, long);
    const closed = await refusal(hand.suspend(next, { condition: named('', 'w') }));
    expect(closed).toMatchObject({ reason: 'WRONG_STATE', metadata: { waitpoint_key: 'w', state: 'CLOSED' } });
    expect((await refusal(hand.suspend(next, { waitpoints: [{ key: 'w' }] }))).reason).toBe('WRONG_STATE');
    expect((await refusal(hand.waitpoint(next, 'w'))).reason).toBe('WRONG_STATE');
    await hand.complete(next);
  });

  it('that counts more waitpoints than can ever be signaled is refused, and makes none', async () => {
    const condition = {
      condition: { case: 'count' as const, value: { count: 2, distinct: CountDistinct.WAITPOINTS } },
    };
    const claim = await running();
    const refused = await refusal(hand.suspend(claim, { condition, waitpoints: [{ key: 'a' }] }));
    expect(refused).toMatchObject({ reason: 'INVALID_FIELD', fieldViolations: [{ field: 'condition' }] });
    const both = await hand.suspend(claim, { condition, waitpoints: [{ key: 'a' }, { key: 'b' }] });
    expect(both.waitpoints.map(({ state }) => state)).toEqual([WaitpointState.PENDING, WaitpointState.PENDING]);
    await hand.signal(claim.executionId, 'x', { waitpointKey: 'a' });
    expect((await hand.signal(claim.executionId, 'x', { waitpointKey: 'b' })).effect).toBe(SATISFIED);
    await hand.complete(await hand.claimNamed(claim.executionId, long));
  });

  it('is refused to a holder that is asked to stop', async () => {
    const claim = await running();
    await hand.cancel(claim.executionId);
    expect((await refusal(hand.suspend(claim))).reason).toBe('WRONG_STATE');
    expect((await hand.signal(claim.executionId)).effect).toBe(SignalEffect.IGNORED);
    await hand.complete(claim);
  });

  it('is refused to a member of a canceled flow', async () => {
    const flow = await hand.flow({ members: { running: {}, waiting: {} } });
    const member = await flow.claim('running', long);
    await flow.cancel();
    expect((await refusal(hand.suspend(member))).reason).toBe('WRONG_STATE');
    await hand.fail(member, 5);
    await flow.ended();
  });

  it('is open to members of flows, whose downstreams wait with them', async () => {
    const flow = await hand.flow({ members: { first: {}, second: {} }, links: [['first', 'second']] });
    const member = await flow.claim('first', long);
    await hand.suspend(member);
    expect(await flow.states()).toEqual({ first: 'SUSPENDED', second: 'BLOCKED' });
    await hand.signal(member.executionId);
    await hand.complete(await hand.claimNamed(member.executionId, long));
    await flow.complete('second');
    await flow.ended();
  });

  it('without a lease that is in force is refused as every call of a holder is', async () => {
    const claim = await running();
    const stranger = { ...leaseOf(claim), leaseId: '00000000-0000-4000-8000-000000000000' };
    const { engine } = recorded.clients;
    expect(
      (await refusal(engine.suspendExecution({ lease: stranger, condition: named('go') }))).metadata,
    ).toMatchObject({
      why: 'superseded',
    });
    const elsewhere = { namespace: 'elsewhere', lease: leaseOf(claim) };
    expect((await refusal(engine.suspendExecution({ ...elsewhere, condition: named('go') }))).reason).toBe(
      'EXECUTION_NOT_FOUND',
    );
    expect((await refusal(engine.createWaitpoint({ ...elsewhere, waitpoint: { key: 'w' } }))).reason).toBe(
      'EXECUTION_NOT_FOUND',
    );
    expect((await refusal(engine.listMatchedSignals(elsewhere))).reason).toBe('EXECUTION_NOT_FOUND');
    expect((await refusal(engine.listMatchedSignals({ lease: stranger }))).reason).toBe('LEASE_LOST');
    await hand.complete(claim);
    expect((await refusal(hand.suspend(claim))).reason).toBe('EXECUTION_TERMINAL');
    expect((await refusal(hand.matched(claim))).reason).toBe('EXECUTION_TERMINAL');
    expect(await hand.state(claim.executionId)).not.toBe(RUNNING);
  });

  it('for nothing but a timeout needs one', async () => {
    const claim = await running();
    const refused = await refusal(hand.suspend(claim, { condition: timeoutOnly }));
    expect(refused).toMatchObject({ reason: 'INVALID_FIELD', fieldViolations: [{ field: 'timeout' }] });
    await hand.complete(claim);
  });
});

describe('an execution with a concurrency key', () => {
  it('gives its place up while it is suspended, and queues again behind the others of its key', async () => {
    const lane = 'one at a time';
    await hand.setLane(lane, { defaultKeyLimit: 1 });
    const keyed = { lane, type: 'keyed', concurrencyKey: 'k' };
    const [first = '', second = '', third = ''] = await hand.create(keyed, keyed, keyed);
    const claim = await hand.claimNamed(first, long);
    expect(await Promise.all([second, third].map((id) => hand.state(id)))).toEqual([BLOCKED, BLOCKED]);
    await hand.suspend(claim);
    expect(await Promise.all([first, second, third].map((id) => hand.state(id)))).toEqual([SUSPENDED, QUEUED, BLOCKED]);
    expect((await hand.signal(first)).effect).toBe(SATISFIED);
    expect(await hand.state(first)).toBe(BLOCKED);
    for (const id of [second, third, first]) {
      const next = await hand.claimOne({ lanes: [{ lane }], types: ['keyed'], ...long });
      expect(next.executionId).toBe(id);
      expect(next.resume?.suspensionNumber).toBe(id === first ? 1 : undefined);
      await hand.complete(next);
    }
  });
});

describe('an early signal', () => {
  it('satisfies a suspension to come, in every phase before it', async () => {
    const id = await hand.createOne({ delay: seconds(1), type: 'early', lane: 'early' });
    expect((await hand.signal(id, 'first')).effect).toBe(BUFFERED);
    const claim = await hand.claimOne({ types: ['early'], lanes: [{ lane: 'early' }], wait: seconds(20), ...long });
    expect((await hand.signal(id, 'second')).effect).toBe(BUFFERED);
    const answer = await hand.suspend(claim, { condition: allOf(named('second'), named('first')) });
    expect(answer).toMatchObject({ suspended: false, signals: [{ name: 'first' }, { name: 'second' }] });
    expect((await hand.renew(claim)).expireTime).toBeDefined();
    expect(await hand.matched(claim)).toEqual(answer.signals);
    await hand.complete(claim);
  });
});
