/** SignalExecution: who may tell an execution something, what it does, and how much is kept. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { ResumeCause, SignalEffect, SignalSource, WaitpointState } from '../../gen/tailrace/v1/signal_pb.js';
import { leaseOf, refusal, seconds, text } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { named, operatorOnly, WaitsByHand } from '../support/waits-by-hand.js';

const { SATISFIED, APPENDED, BUFFERED, DUPLICATE } = SignalEffect;
const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
let hand: WaitsByHand;
beforeAll(async () => {
  recorded = await Recorded.start({
    environment: {
      TAILRACE_MAX_SIGNALS: '7',
      TAILRACE_MAX_EARLY_SIGNALS: '3',
      TAILRACE_MAX_WAITPOINTS: '2',
      TAILRACE_MAX_PAYLOAD_BYTES: '1048576',
    },
  });
  hand = new WaitsByHand(recorded.clients);
});
afterAll(() => recorded.stop());

async function running(spec = {}) {
  return await hand.claimNamed(await hand.createOne(spec), long);
}

describe('a waitpoint', () => {
  it('is made once, and takes signals by its token and by its key, before and while it is waited for', async () => {
    const claim = await running();
    const { executionId } = claim;
    const { engine } = recorded.clients;
    const first = await hand.waitpoint(claim, 'w', { expiry: seconds(3_600) });
    expect(first).toMatchObject({ key: 'w', executionId, state: WaitpointState.PENDING, signalCount: 0 });
    expect(first.token.length).toBeGreaterThan(40);
    const again = await engine.createWaitpoint({ lease: leaseOf(claim), waitpoint: { key: 'w', expiry: seconds(60) } });
    expect(again).toMatchObject({ duplicate: true, waitpoint: first });
    expect((await hand.signalBy(first.token, 'early')).effect).toBe(BUFFERED);
    const parked = await hand.suspend(claim, { condition: named('late', 'w') });
    expect(parked.suspended).toBe(true);
    expect((await hand.signal(executionId, 'else', { waitpointKey: 'w' })).effect).toBe(APPENDED);
    expect((await hand.signal(executionId, 'late')).effect).toBe(APPENDED);
    expect((await hand.signalBy(first.token, 'late', { payload: text('now') })).effect).toBe(SATISFIED);
    expect((await refusal(hand.signalBy(first.token, 'late'))).reason).toBe('INVALID_WAITPOINT_TOKEN');
    const closed = await refusal(hand.signal(executionId, 'late', { waitpointKey: 'w' }));
    expect(closed).toMatchObject({ reason: 'WRONG_STATE', metadata: { waitpoint_key: 'w' } });
    const next = await hand.claimNamed(executionId, long);
    expect(next.resume?.signals).toMatchObject([
      { name: 'late', waitpointKey: 'w', payload: { body: { value: 'now' } } },
    ]);
    await hand.complete(next);
  });

  it('refuses signals once its time is up, and the log says so', async () => {
    const claim = await running();
    const { token } = await hand.waitpoint(claim, 'short', { expiry: seconds(1) });
    const entry = await recorded.log.entry(
      ({ kind, executionId }) => kind === LogEntryKind.WAITPOINT_EXPIRED && executionId === claim.executionId,
    );
    expect(entry.subject).toBe('short');
    expect((await refusal(hand.signalBy(token))).reason).toBe('INVALID_WAITPOINT_TOKEN');
    const closed = await refusal(hand.signal(claim.executionId, 'go', { waitpointKey: 'short' }));
    expect(closed.reason).toBe('WRONG_STATE');
    await hand.complete(claim);
  });

  it('of an execution that has ended takes nothing, and says nothing of it to a bearer', async () => {
    const claim = await running();
    const { token } = await hand.waitpoint(claim, 'w');
    await hand.signalBy(token, 'kept', { idempotencyKey: 'k' });
    await hand.complete(claim);
    expect((await refusal(hand.signalBy(token))).reason).toBe('INVALID_WAITPOINT_TOKEN');
    const { reason, metadata } = await refusal(hand.signal(claim.executionId, 'go', { waitpointKey: 'w' }));
    expect([reason, metadata['state']]).toEqual(['EXECUTION_TERMINAL', 'SUCCEEDED']);
    // What was answered once is answered again, whatever has come about since.
    expect((await hand.signalBy(token, 'kept', { idempotencyKey: 'k' })).effect).toBe(DUPLICATE);
  });

  it('is refused beyond so many of one execution', async () => {
    const claim = await running();
    await hand.waitpoint(claim, 'one');
    await hand.waitpoint(claim, 'two');
    const refused = await refusal(hand.waitpoint(claim, 'three'));
    expect(refused).toMatchObject({ reason: 'WAITPOINT_LIMIT_EXCEEDED', metadata: { limit: '2' } });
    expect((await refusal(hand.suspend(claim, { waitpoints: [{ key: 'three' }] }))).reason).toBe(
      'WAITPOINT_LIMIT_EXCEEDED',
    );
    expect((await hand.suspend(claim, { waitpoints: [{ key: 'one' }, { key: 'two' }] })).waitpoints).toHaveLength(2);
    await hand.cancel(claim.executionId);
  });
});

describe('a signal', () => {
  it('is counted once under its idempotency key, and refused with other content', async () => {
    const claim = await running();
    const { executionId } = claim;
    const once = { idempotencyKey: 'k', payload: text('a'), sourceId: 'ann' };
    const first = await hand.signal(executionId, 'go', once);
    expect(await hand.signal(executionId, 'go', once)).toMatchObject({ effect: DUPLICATE, signalId: first.signalId });
    for (const other of [
      { ...once, payload: text('b') },
      { ...once, sourceId: 'bob' },
    ]) {
      expect((await refusal(hand.signal(executionId, 'go', other))).reason).toBe('REQUEST_ID_REUSED');
    }
    expect((await refusal(hand.signal(executionId, 'stop', once))).reason).toBe('REQUEST_ID_REUSED');
    const answer = await hand.suspend(claim);
    expect(answer).toMatchObject({ suspended: false, signals: [{ signalId: first.signalId }] });
    expect((await hand.suspend(claim)).suspended).toBe(true);
    expect(await hand.signal(executionId, 'go', once)).toMatchObject({ effect: DUPLICATE, signalId: first.signalId });
    await hand.cancel(executionId);
    expect((await hand.signal(executionId, 'go', once)).effect).toBe(DUPLICATE);
  });

  it('is refused to whom it cannot reach', async () => {
    const unknown = '018f0000-0000-7000-8000-000000000000';
    expect((await refusal(hand.signal(unknown))).reason).toBe('EXECUTION_NOT_FOUND');
    const claim = await running();
    const nowhere = await refusal(hand.signal(claim.executionId, 'go', { waitpointKey: 'nowhere' }));
    expect(nowhere).toMatchObject({ reason: 'WAITPOINT_NOT_FOUND', metadata: { waitpoint_key: 'nowhere' } });
    const elsewhere = { namespace: 'elsewhere' };
    expect((await refusal(hand.signal(claim.executionId, 'go', elsewhere))).reason).toBe('EXECUTION_NOT_FOUND');
    const { token } = await hand.waitpoint(claim, 'w');
    expect((await refusal(hand.signalBy(token, 'go', elsewhere))).reason).toBe('INVALID_WAITPOINT_TOKEN');
    const asEngine = await refusal(hand.signal(claim.executionId, 'go', { source: SignalSource.ENGINE }));
    expect(asEngine).toMatchObject({ reason: 'INVALID_FIELD', fieldViolations: [{ field: 'source' }] });
    const nobody = await refusal(recorded.clients.engine.signalExecution({ name: 'go' }));
    expect(nobody).toMatchObject({ reason: 'INVALID_FIELD', fieldViolations: [{ field: 'waitpoint_token' }] });
    const wrong = await refusal(hand.signal('nobody', '', { waitpointKey: '\0', idempotencyKey: '\0' }));
    expect(wrong.fieldViolations.map(({ field }) => field)).toEqual([
      'name',
      'idempotency_key',
      'execution.execution_id',
      'execution.waitpoint_key',
    ]);
    await hand.complete(claim);
    expect((await refusal(hand.signal(claim.executionId))).reason).toBe('EXECUTION_TERMINAL');
  });

  it('is refused beyond so many early ones of a waitpoint, and beyond so many of an execution', async () => {
    const claim = await running();
    const { executionId } = claim;
    const { token } = await hand.waitpoint(claim, 'w');
    for (let i = 0; i < 3; i++) expect((await hand.signalBy(token, `early ${i}`)).effect).toBe(BUFFERED);
    const crowded = await refusal(hand.signalBy(token));
    expect(crowded).toMatchObject({ reason: 'SIGNAL_LIMIT_EXCEEDED', metadata: { limit: '3' } });
    // Once a suspension names it they are not early any more.
    await hand.suspend(claim, { condition: named('last', 'w') });
    for (let i = 0; i < 4; i++) expect((await hand.signalBy(token, `more ${i}`)).effect).toBe(APPENDED);
    const full = await refusal(hand.signal(executionId, 'last'));
    expect(full).toMatchObject({ reason: 'SIGNAL_LIMIT_EXCEEDED', metadata: { limit: '7' } });
    // Operators and timeouts are not kept from letting it go on.
    await recorded.clients.admin.resumeExecution({ executionId, signalName: 'enough' });
    const next = await hand.claimNamed(executionId, long);
    expect(next.resume).toMatchObject({ cause: ResumeCause.OPERATOR, signals: [{ name: 'enough' }] });
    await hand.complete(next);
  });

  it('is in the log with its effect, before what it brought about', async () => {
    const claim = await running();
    const { executionId } = claim;
    await hand.suspend(claim);
    await hand.signal(executionId, 'other', { sourceId: 'ann' });
    await hand.signal(executionId);
    await hand.complete(await hand.claimNamed(executionId, long));
    await recorded.log.entry(
      (entry) => entry.executionId === executionId && entry.kind === LogEntryKind.EXECUTION_SUCCEEDED,
    );
    const entries = recorded.log.entries.filter((entry) => entry.executionId === executionId);
    const { entries: listed } = await recorded.clients.admin.listLogEntries({ filter: { executionId } });
    expect(listed.map(({ kind }) => LogEntryKind[kind]).sort()).toEqual(
      entries.map(({ kind }) => LogEntryKind[kind]).sort(),
    );
    expect(entries.map(({ kind }) => LogEntryKind[kind])).toEqual([
      'EXECUTION_CREATED',
      'ATTEMPT_STARTED',
      'EXECUTION_SUSPENDED',
      'SIGNAL_RECEIVED',
      'SIGNAL_RECEIVED',
      'EXECUTION_RESUMED',
      'ATTEMPT_STARTED',
      'ATTEMPT_ENDED',
      'EXECUTION_SUCCEEDED',
    ]);
  });
});

describe('an operator', () => {
  it('lets an execution go on whatever it waits for, once', async () => {
    const claim = await running();
    const { executionId } = claim;
    const { admin } = recorded.clients;
    await hand.suspend(claim, { condition: operatorOnly });
    expect((await hand.signal(executionId)).effect).toBe(APPENDED);
    const asked = {
      executionId,
      suspensionNumber: 1,
      signalName: 'approved',
      payload: text('fine'),
      actor: 'op',
      note: 'seen',
    };
    expect((await admin.resumeExecution(asked)).state).toBe(ExecutionState.QUEUED);
    expect(await refusal(admin.resumeExecution(asked))).toMatchObject({
      reason: 'NOT_SUSPENDED',
      metadata: { state: 'QUEUED' },
    });
    const next = await hand.claimNamed(executionId, long);
    expect(next.resume).toMatchObject({
      cause: ResumeCause.OPERATOR,
      signals: [
        { name: 'approved', source: SignalSource.OPERATOR, sourceId: 'op', payload: { body: { value: 'fine' } } },
      ],
    });
    // The other signal was not used by that.
    expect((await hand.suspend(next)).suspended).toBe(false);
    await hand.complete(next);
    expect((await refusal(admin.resumeExecution({ executionId }))).reason).toBe('EXECUTION_TERMINAL');
    expect((await hand.end(executionId)).outcome?.reason).toBe(EndReason.UNSPECIFIED);
  });

  it('takes none of the signals away that an execution may be sent', async () => {
    let claim = await running();
    const { executionId } = claim;
    for (let n = 0; n < 7; n++) {
      await hand.suspend(claim, { condition: operatorOnly });
      await recorded.clients.admin.resumeExecution({ executionId });
      claim = await hand.claimNamed(executionId, long);
    }
    for (let n = 0; n < 7; n++) expect((await hand.signal(executionId)).effect).toBe(BUFFERED);
    expect((await refusal(hand.signal(executionId))).reason).toBe('SIGNAL_LIMIT_EXCEEDED');
    await hand.complete(claim);
  });
});

describe('the signals that satisfied a suspension', () => {
  it('are listed page by page to the holder', async () => {
    const claim = await running();
    const { executionId } = claim;
    const names = Array.from({ length: 7 }, (_, i) => `s ${i}`);
    for (const one of names) await hand.signal(executionId, one);
    const condition = { condition: { case: 'count' as const, value: { count: 7 } } };
    expect((await hand.suspend(claim, { condition })).signals.map(({ name }) => name)).toEqual(names);
    const listed: string[] = [];
    let pageToken = '';
    do {
      const page = await recorded.clients.engine.listMatchedSignals({ lease: leaseOf(claim), pageSize: 3, pageToken });
      listed.push(...page.signals.map(({ name }) => name));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(listed).toEqual(names);
    const foreign = await recorded.clients.engine.listMatchedSignals({ lease: leaseOf(claim), pageSize: 3 });
    const other = { lease: leaseOf(claim), suspensionNumber: 1, pageToken: foreign.nextPageToken };
    expect((await refusal(recorded.clients.engine.listMatchedSignals(other))).reason).toBe('BAD_CURSOR');
    await hand.complete(claim);
  });

  it('are left out of a claim where they are large, and told to whoever asks', async () => {
    const claim = await running();
    const { executionId } = claim;
    const large = 'x'.repeat(400_000);
    await hand.suspend(claim, { condition: { condition: { case: 'count' as const, value: { count: 7 } } } });
    for (let i = 0; i < 7; i++) await hand.signal(executionId, `s ${i}`, { payload: text(large) });
    const next = await hand.claimNamed(executionId, long);
    expect(next.resume).toMatchObject({
      moreSignals: true,
      signals: [{ name: 's 0', payload: { body: { value: large } } }],
    });
    const first = await recorded.clients.engine.listMatchedSignals({ lease: leaseOf(next) });
    expect(first.signals.map(({ name }) => name)).toEqual(['s 0', 's 1', 's 2', 's 3', 's 4']);
    const { nextPageToken: pageToken } = first;
    const second = await recorded.clients.engine.listMatchedSignals({ lease: leaseOf(next), pageToken });
    expect(second).toMatchObject({ signals: [{ name: 's 5' }, { name: 's 6' }], nextPageToken: '' });
    await hand.complete(next);
  });
});
