/** What a breach does to its execution: nothing, its end, or a rest until there is room. */

import { timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AttemptOutcome } from '../../gen/tailrace/v1/attempt_pb.js';
import { DeadLetterReason } from '../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { JoinMode } from '../../gen/tailrace/v1/join_pb.js';
import { ResumeCause, SuspensionReason } from '../../gen/tailrace/v1/signal_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { only, refusal, seconds } from '../support/by-hand.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { FAIL, ofLane, REFUSE, Spending, SUSPEND } from '../support/spending.js';

const { QUEUED, RUNNING, SUSPENDED, BLOCKED, FAILED, CANCELED } = ExecutionState;

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

const spending = () => new Spending(recorded.clients);

describe('FAIL', () => {
  it('gives the execution up with a dead letter, and answers a repeat alike', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: FAIL });
    const claim = await some.running();
    await some.report(claim, { tokens: 9n });
    const first = await refusal(some.report(claim, { tokens: 2n }, 'a key'));
    expect(first).toMatchObject({
      reason: 'BUDGET_EXCEEDED',
      metadata: { budget: some.lane, dimension: 'tokens', used: '9', limit: '10', state: 'FAILED' },
    });
    const { outcome } = await some.hand.end(claim.executionId);
    expect(outcome).toMatchObject({ state: FAILED, reason: EndReason.BUDGET });
    const { deadLetter } = await recorded.clients.deadLetters.getDeadLetter({
      deadLetterId: first.metadata['dead_letter_id'] ?? '',
    });
    expect(deadLetter).toMatchObject({ lane: some.lane, reason: DeadLetterReason.BUDGET });
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: claim.executionId });
    expect(only(attempts)).toMatchObject({
      outcome: AttemptOutcome.FAILED,
      failure: { code: 'BUDGET_EXCEEDED' },
      usage: { tokens: 9n },
    });
    expect(await refusal(some.report(claim, { tokens: 2n }, 'a key'))).toEqual(first);
    expect((await refusal(some.report(claim, { tokens: 1n }, 'another'))).reason).toBe('EXECUTION_TERMINAL');
    expect((await refusal(some.hand.complete(claim))).reason).toBe('EXECUTION_TERMINAL');
    expect(await some.used()).toEqual({ tokens: 9n });
  });

  it('ends one that was to stop anyway canceled', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: FAIL });
    const claim = await some.running();
    await some.hand.cancel(claim.executionId, { reason: 'enough' });
    expect((await refusal(some.report(claim, { tokens: 11n }))).metadata).toMatchObject({ state: 'CANCELED' });
    expect((await some.hand.end(claim.executionId)).outcome).toMatchObject({ state: CANCELED });
  });

  it('is told to those who wait for it', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: FAIL });
    const hand = new FlowsByHand(recorded.clients);
    const flow = await hand.flow({
      members: { spends: { lane: some.lane }, waits: {} },
      links: [['spends', 'waits', { optional: true }]],
    });
    const claim = await some.claim(flow.of('spends'));
    await refusal(some.report(claim, { tokens: 11n }));
    await flow.complete('waits');
  });

  it('is the strictest of several', async () => {
    const some = spending();
    for (const policy of [REFUSE, SUSPEND, FAIL]) {
      await some.put({ tokens: 10n }, { name: `${some.lane} ${policy}`, breachPolicy: policy });
    }
    const claim = await some.running();
    const { metadata } = await refusal(some.report(claim, { tokens: 11n }));
    expect(metadata).toMatchObject({ budget: `${some.lane} ${FAIL}`, state: 'FAILED' });
  });
});

describe('SUSPEND', () => {
  it('parks the attempt with what it has reported, until the budget is reset', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND });
    const claim = await some.running();
    const { executionId } = claim;
    await some.report(claim, { tokens: 9n });
    const first = await refusal(some.report(claim, { tokens: 2n }));
    expect(first).toMatchObject({
      reason: 'BUDGET_EXCEEDED',
      metadata: { used: '9', limit: '10', state: 'SUSPENDED' },
    });
    expect(await some.hand.state(executionId)).toBe(SUSPENDED);
    expect(await some.budget()).toMatchObject({ exhausted: false, blockedCount: 1n });
    expect(await some.holds(executionId)).toMatchObject([{ subject: some.lane }]);
    const { suspensions } = await recorded.clients.admin.listSuspendedExecutions({});
    const shown = suspensions.find((each) => each.executionId === executionId);
    expect(shown).toMatchObject({ reason: SuspensionReason.POLICY, suspensionNumber: 1 });
    expect(await refusal(some.report(claim, { tokens: 2n }))).toEqual(first);
    expect((await refusal(some.report(claim, { tokens: 1n }))).reason).toBe('LEASE_LOST');
    await some.reset();
    const next = await some.next();
    expect(next).toMatchObject({
      executionId,
      attemptNumber: 1,
      resume: { suspensionNumber: 1, cause: ResumeCause.BUDGET },
    });
    expect((await refusal(some.report(claim, { tokens: 2n }))).reason).toBe('LEASE_LOST');
    await some.report(next, { tokens: 2n });
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId });
    expect(only(attempts).usage).toEqual({ tokens: 11n });
    await some.hand.complete(next);
    expect(await some.used()).toEqual({ tokens: 2n });
  });

  it.each([
    ['raised', (some: Spending) => some.put({ tokens: 20n }, { breachPolicy: SUSPEND })],
    ['detached', (some: Spending) => some.put({ tokens: 10n }, { breachPolicy: SUSPEND, attachments: [] })],
    ['without the dimension', (some: Spending) => some.put({ calls: 10n }, { breachPolicy: SUSPEND })],
  ])('lets go on once the budget is %s', async (_, change) => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND });
    const claim = await some.running();
    await refusal(some.report(claim, { tokens: 11n }));
    await change(some);
    const next = await some.next();
    await some.report(next, { tokens: 11n });
    await some.hand.complete(next);
  });

  it('lets go on at the end of the window, though the budget was never used up', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND, resetWindow: seconds(8) });
    const [first, second] = [await some.running(), await some.running()];
    await some.report(first, { tokens: 8n });
    await refusal(some.report(first, { tokens: 9n }));
    await refusal(some.report(second, { tokens: 9n }));
    const { resetTime } = await some.budget();
    const resumed = [await some.next(), await some.next()];
    expect(wallMs()).toBeGreaterThanOrEqual(resetTime ? timestampMs(resetTime) : Number.NaN);
    for (const next of resumed) await some.hand.complete(next);
  });

  it('lets as many go on as what was given back is enough for', async () => {
    const some = spending();
    await some.put({ tokens: 100n }, { breachPolicy: SUSPEND });
    const holder = await some.running();
    await some.report(holder, { tokens: 90n });
    const parked = await Promise.all(Array.from({ length: 4 }, () => some.running()));
    for (const claim of parked) await refusal(some.report(claim, { tokens: 20n }));
    await some.release(holder.executionId, { tokens: 35n });
    const gone = [await some.next(), await some.next()];
    for (const claim of gone) await some.report(claim, { tokens: 20n });
    const rest = parked.filter(({ executionId }) => !gone.some((claim) => claim.executionId === executionId));
    for (const { executionId } of rest) expect(await some.hand.state(executionId)).toBe(SUSPENDED);
    await some.release(holder.executionId, { tokens: 55n });
    for (const claim of [await some.next(), await some.next()]) {
      await some.report(claim, { tokens: 20n });
      await some.hand.complete(claim);
    }
    for (const claim of [...gone, holder]) await some.hand.complete(claim);
  });

  it('parks nobody who is to stop anyway', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND });
    const claim = await some.running();
    await some.hand.cancel(claim.executionId, { reason: 'enough' });
    expect((await refusal(some.report(claim, { tokens: 11n }))).metadata).toMatchObject({ state: 'RUNNING' });
    expect(await some.hand.state(claim.executionId)).toBe(RUNNING);
    await some.hand.complete(claim);
  });

  it('leaves it to an operator, to a cancellation and to the deadline to end the rest', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND });
    const parked = async (spec = {}) => {
      const claim = await some.running(spec);
      await refusal(some.report(claim, { tokens: 11n }));
      return claim.executionId;
    };
    const [resumed, canceled, expired] = [await parked(), await parked(), await parked({ deadlineTime: in6Seconds() })];
    await recorded.clients.admin.resumeExecution({ executionId: resumed });
    const next = await some.next();
    expect(next).toMatchObject({ executionId: resumed, resume: { cause: ResumeCause.OPERATOR } });
    await some.hand.complete(next);
    await some.hand.cancel(canceled);
    await some.becomes(canceled, CANCELED);
    await some.becomes(expired, ExecutionState.EXPIRED);
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: canceled });
    expect(only(attempts)).toMatchObject({ outcome: AttemptOutcome.CANCELED });
  });

  it('gives the slot of its concurrency key up, and takes one again', async () => {
    const some = spending();
    const keyed = { concurrencyKey: 'one at a time' };
    await recorded.clients.admin.updateLane({
      lane: some.lane,
      settings: { keyLimits: [{ key: keyed.concurrencyKey, limit: 1 }] },
    });
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND });
    const claim = await some.running(keyed);
    const behind = await some.queued(keyed);
    expect(await some.hand.state(behind)).toBe(BLOCKED);
    await refusal(some.report(claim, { tokens: 11n }));
    const second = await some.next();
    expect(second.executionId).toBe(behind);
    await some.reset();
    await some.becomes(claim.executionId, BLOCKED);
    await some.hand.complete(second);
    await some.hand.complete(await some.next());
  });

  it('is held back like any other work when it is to go on, and goes on with its attempt after that', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND });
    const [first, second] = [await some.running(), await some.running()];
    for (const claim of [first, second]) await refusal(some.report(claim, { tokens: 11n }));
    await recorded.clients.admin.pauseLane({ lane: some.lane });
    for (const { executionId } of [first, second]) await recorded.clients.admin.resumeExecution({ executionId });
    await some.put({ tokens: 0n }, { name: `${some.lane} too` });
    for (const { executionId } of [first, second]) await some.becomes(executionId, BLOCKED);
    await recorded.clients.admin.resumeLane({ lane: some.lane });
    await some.hand.cancel(first.executionId);
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: first.executionId });
    expect(only(attempts)).toMatchObject({ outcome: AttemptOutcome.CANCELED });
    await some.put({ tokens: 1n }, { name: `${some.lane} too` });
    const next = await some.next();
    expect(next).toMatchObject({
      executionId: second.executionId,
      attemptNumber: 1,
      resume: { cause: ResumeCause.OPERATOR },
    });
    await some.hand.complete(next);
  });

  it('parks members of flows and children like any', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND });
    const hand = new FlowsByHand(recorded.clients);
    const flow = await hand.flow({
      members: { spends: { lane: some.lane }, waits: {} },
      links: [['spends', 'waits']],
      joins: { waits: { mode: JoinMode.ALL } },
    });
    await refusal(some.report(await some.claim(flow.of('spends')), { tokens: 11n }));
    expect(await hand.state(flow.of('waits'))).toBe(BLOCKED);
    await some.put({ tokens: 11n }, { breachPolicy: SUSPEND, attachments: [ofLane(some.lane)] });
    const next = await some.next();
    await some.report(next, { tokens: 11n });
    await some.hand.complete(next);
    await flow.complete('waits');
  });
});

describe('REFUSE', () => {
  it('leaves everything to the handler', async () => {
    const some = spending();
    await some.put({ tokens: 10n });
    const claim = await some.running();
    expect((await refusal(some.report(claim, { tokens: 11n }))).metadata).toMatchObject({ state: 'RUNNING' });
    expect((await some.hand.renew(claim)).cancelRequest).toBeUndefined();
    await some.hand.release(claim);
    expect(await some.hand.state(claim.executionId)).toBe(QUEUED);
    await some.hand.complete(await some.next());
  });
});

const in6Seconds = () => ({ seconds: BigInt(Math.ceil(wallMs() / 1_000) + 6) });
