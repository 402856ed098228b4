/** Budgets as running attempts meet them: what they use is counted in all that bound them, or in none. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { leaseOf, only, refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { ofExecution, ofFlow, ofLane, ofNamespace, Spending } from '../support/spending.js';

const HUGE = 2n ** 63n - 1n;

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

const spending = () => new Spending(recorded.clients);

describe('a report', () => {
  it('is counted, and shown with budget and attempt', async () => {
    const some = spending();
    await some.put({ tokens: 100n, calls: 10n });
    const claim = await some.running();
    expect(await some.report(claim, { tokens: 40n })).toMatchObject({ duplicate: false, warnings: [] });
    await some.report(claim, { tokens: 2n, calls: 1n, seconds: 9n });
    expect(await some.used()).toEqual({ tokens: 42n, calls: 1n });
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: claim.executionId });
    expect(only(attempts).usage).toEqual({ tokens: 42n, calls: 1n, seconds: 9n });
    await some.hand.complete(claim);
    const ended = await recorded.clients.admin.listAttempts({ executionId: claim.executionId });
    expect(only(ended.attempts).usage).toEqual({ tokens: 42n, calls: 1n, seconds: 9n });
  });

  it('may use a hard limit up, and not a bit more', async () => {
    const some = spending();
    await some.put({ tokens: 100n, calls: 10n });
    const claim = await some.running();
    await some.report(claim, { tokens: 99n });
    const refused = await refusal(some.report(claim, { tokens: 2n, calls: 1n }));
    expect(refused).toMatchObject({
      reason: 'BUDGET_EXCEEDED',
      metadata: { budget: some.lane, dimension: 'tokens', used: '99', limit: '100', state: 'RUNNING' },
    });
    expect(await some.used()).toEqual({ tokens: 99n, calls: 0n });
    await some.report(claim, { tokens: 1n });
    expect(await some.budget()).toMatchObject({ exhausted: true });
    expect((await refusal(some.report(claim, { tokens: 1n }))).reason).toBe('BUDGET_EXCEEDED');
    // Of what is not used up there is more, and nothing is always there.
    await some.report(claim, { tokens: 0n, calls: 1n });
    expect(await some.used()).toEqual({ tokens: 100n, calls: 1n });
    await some.hand.complete(claim);
  });

  it('fits all budgets that bound it, or none', async () => {
    const some = spending();
    const hand = new FlowsByHand(recorded.clients);
    const flow = await hand.flow({ members: { spends: { lane: some.lane } } });
    const execution = flow.of('spends');
    const all: readonly [string, object][] = [
      ['namespace', ofNamespace],
      ['lane', ofLane(some.lane)],
      ['flow', ofFlow(flow.id)],
      ['execution', ofExecution(execution)],
    ];
    const nameOf = (what: string) => `${some.lane} ${what}`;
    for (const [what, attachment] of all) {
      await some.put({ tokens: 1_000n }, { name: nameOf(what), attachments: [attachment] });
    }
    const claim = await some.claim(execution);
    for (const [narrow, attachment] of all) {
      await some.put({ tokens: 10n }, { name: nameOf(narrow), attachments: [attachment] });
      const { metadata } = await refusal(some.report(claim, { tokens: 11n }));
      expect(metadata).toMatchObject({ budget: nameOf(narrow), used: '0', limit: '10' });
      await some.put({ tokens: 1_000n }, { name: nameOf(narrow), attachments: [attachment] });
    }
    for (const [what] of all) expect(await some.used(nameOf(what))).toEqual({ tokens: 0n });
    await some.report(claim, { tokens: 11n });
    for (const [what] of all) expect(await some.used(nameOf(what))).toEqual({ tokens: 11n });
    await some.hand.complete(claim);
    for (const [what] of all) await some.put({ tokens: 1_000n }, { name: nameOf(what), attachments: [] });
  });

  it('is counted once per key, whoever repeats it', async () => {
    const some = spending();
    await some.put({ tokens: [100n, 5n] });
    const claim = await some.running();
    const { warnings } = await some.report(claim, { tokens: 10n }, 'one');
    expect(await some.report(claim, { tokens: 10n }, 'one')).toMatchObject({ duplicate: true, warnings });
    await some.hand.release(claim);
    const next = await some.claim(claim.executionId);
    expect(await some.report(next, { tokens: 10n }, 'one')).toMatchObject({ duplicate: true });
    expect((await refusal(some.report(next, { tokens: 11n }, 'one'))).reason).toBe('REQUEST_ID_REUSED');
    expect((await refusal(some.report(next, { calls: 10n }, 'one'))).reason).toBe('REQUEST_ID_REUSED');
    await some.report(next, { tokens: 10n }, 'two');
    await some.report(next, { tokens: 10n });
    await some.report(next, { tokens: 10n });
    expect(await some.used()).toEqual({ tokens: 40n });
    // Another execution has keys of its own, and a refused report leaves its key unused.
    const other = await some.running();
    expect((await refusal(some.report(other, { tokens: 70n }, 'one'))).reason).toBe('BUDGET_EXCEEDED');
    expect(await some.report(other, { tokens: 60n }, 'three')).toMatchObject({ duplicate: false });
    await some.reset();
    expect(await some.report(other, { tokens: 70n }, 'one')).toMatchObject({ duplicate: false });
    await some.hand.complete(next);
    await some.hand.complete(other);
  });

  it('tells soft limits that are crossed, and logs the crossing once', async () => {
    const some = spending();
    await some.put({ tokens: [100n, 50n], calls: 5n });
    const claim = await some.running();
    expect(await some.report(claim, { tokens: 50n, calls: 1n })).toMatchObject({ warnings: [] });
    const crossed = {
      budget: some.lane,
      use: { dimension: 'tokens', used: 51n, limit: { hardLimit: 100n, softLimit: 50n } },
    };
    expect(await some.report(claim, { tokens: 1n, calls: 1n })).toMatchObject({ warnings: [crossed] });
    expect((await some.report(claim, { tokens: 9n })).warnings).toMatchObject([{ use: { used: 60n } }]);
    expect((await some.report(claim, { calls: 1n })).warnings).toEqual([]);
    await some.report(claim, { tokens: 40n });
    const told = await budgetEntries(some.lane, 3);
    expect(told).toEqual([LogEntryKind.BUDGET_UPDATED, LogEntryKind.BUDGET_WARNED, LogEntryKind.BUDGET_EXHAUSTED]);
    await some.hand.complete(claim);
  });

  it('needs the lease that is in force', async () => {
    const some = spending();
    await some.put({ tokens: 100n });
    const claim = await some.running();
    const { fencingToken = 0n, ...lease } = leaseOf(claim);
    const stale = { ...lease, fencingToken: BigInt(fencingToken) - 1n };
    const asked = (of: object) => recorded.clients.engine.reportUsage({ lease: of, usage: { tokens: 1n } });
    expect((await refusal(asked(stale))).reason).toBe('LEASE_LOST');
    const nobody = { ...lease, fencingToken, executionId: '018f0000-0000-7000-8000-000000000000' };
    expect((await refusal(asked(nobody))).reason).toBe('EXECUTION_NOT_FOUND');
    await some.hand.complete(claim);
    expect((await refusal(some.report(claim, { tokens: 1n }))).reason).toBe('EXECUTION_TERMINAL');
    expect(await some.used()).toEqual({ tokens: 0n });
  });

  it('is told of a cancellation', async () => {
    const some = spending();
    const claim = await some.running();
    await some.hand.cancel(claim.executionId, { reason: 'enough' });
    expect(await some.report(claim, { tokens: 1n })).toMatchObject({ cancelRequest: { reason: 'enough' } });
    await some.hand.complete(claim);
  });

  it('takes amounts as large as they come', async () => {
    const some = spending();
    await some.put({ tokens: HUGE });
    const claim = await some.running();
    await some.report(claim, { tokens: HUGE - 1n, unknown: HUGE });
    expect((await refusal(some.report(claim, { tokens: HUGE }))).metadata).toMatchObject({ used: `${HUGE - 1n}` });
    await some.report(claim, { tokens: 1n, unknown: HUGE });
    expect(await some.used()).toEqual({ tokens: HUGE });
    const { attempts } = await recorded.clients.admin.listAttempts({ executionId: claim.executionId });
    expect(only(attempts).usage).toEqual({ tokens: HUGE, unknown: HUGE });
    expect(await some.release(claim.executionId, { tokens: HUGE, unknown: HUGE })).toMatchObject({
      released: { tokens: HUGE, unknown: HUGE },
    });
    expect(await some.used()).toEqual({ tokens: 0n });
    await some.hand.complete(claim);
  });

  it.each([
    ['a negative amount', { tokens: -1n }, 'usage["tokens"]'],
    ['nothing', {}, 'usage'],
    ['an empty dimension', { '': 1n }, 'usage[""]'],
    ['a long dimension', { ['x'.repeat(65)]: 1n }, `usage["${'x'.repeat(60)}…"]`],
    ['too many dimensions', Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`d${i}`, 1n])), 'usage'],
  ])('is refused with %s', async (_, usage, field) => {
    const some = spending();
    const claim = await some.running();
    const { reason, fieldViolations } = await refusal(some.report(claim, usage));
    expect([reason, fieldViolations.map((violation) => violation.field)]).toEqual(['INVALID_FIELD', [field]]);
    const released = await refusal(some.release(claim.executionId, usage));
    expect(released.fieldViolations.map((violation) => violation.field)).toEqual([field]);
    await some.hand.complete(claim);
  });

  it('may name 64 dimensions in one attempt', async () => {
    const some = spending();
    const claim = await some.running();
    const batch = (n: number) => Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`d${n}-${i}`, 1n]));
    for (const n of [1, 2, 3, 4, 4, 1]) await some.report(claim, batch(n));
    expect((await refusal(some.report(claim, { more: 1n }))).fieldViolations).toMatchObject([{ field: 'usage' }]);
    await some.hand.complete(claim);
  });
});

describe('what is given back', () => {
  it('is at most what that execution has reported, also after it ended', async () => {
    const some = spending();
    await some.put({ tokens: 100n, calls: 10n });
    const [claim, other] = [await some.running(), await some.running()];
    await some.report(claim, { tokens: 30n, calls: 3n });
    await some.report(other, { tokens: 50n });
    expect(await some.release(claim.executionId, { tokens: 10n, calls: 0n })).toMatchObject({
      released: { tokens: 10n },
    });
    await some.hand.complete(claim);
    expect(await some.release(claim.executionId, { tokens: 1_000n, seconds: 1n })).toMatchObject({
      released: { tokens: 20n },
      duplicate: false,
    });
    expect(await some.release(claim.executionId, { tokens: 1_000n })).toMatchObject({ released: {} });
    expect(await some.used()).toEqual({ tokens: 50n, calls: 3n });
    await some.hand.complete(other);
  });

  it('is given once per key', async () => {
    const some = spending();
    await some.put({ tokens: 100n });
    const claim = await some.running();
    await some.report(claim, { tokens: 30n }, 'one');
    const first = await some.release(claim.executionId, { tokens: 10n }, 'one');
    expect(await some.release(claim.executionId, { tokens: 10n }, 'one')).toEqual({ ...first, duplicate: true });
    expect((await refusal(some.release(claim.executionId, { tokens: 11n }, 'one'))).reason).toBe('REQUEST_ID_REUSED');
    expect(await some.used()).toEqual({ tokens: 20n });
    await some.hand.complete(claim);
  });

  it('is fenced where a lease is shown', async () => {
    const some = spending();
    const claim = await some.running();
    await some.report(claim, { tokens: 30n });
    const { executionId } = claim;
    const ask = { executionId, usage: { tokens: 10n }, lease: leaseOf(claim) };
    expect(await recorded.clients.engine.releaseUsage(ask)).toMatchObject({ released: { tokens: 10n } });
    await some.hand.release(claim);
    expect((await refusal(recorded.clients.engine.releaseUsage(ask))).reason).toBe('LEASE_LOST');
    const another = { ...leaseOf(claim), executionId: '018f0000-0000-7000-8000-000000000000' };
    const mixed = refusal(recorded.clients.engine.releaseUsage({ ...ask, lease: another }));
    expect((await mixed).fieldViolations).toMatchObject([{ field: 'lease.execution_id' }]);
    const nobody = { executionId: another.executionId, usage: { tokens: 1n } };
    expect((await refusal(recorded.clients.engine.releaseUsage(nobody))).reason).toBe('EXECUTION_NOT_FOUND');
    await some.hand.complete(await some.claim(executionId));
  });

  it('counts only in budgets that have not begun anew since', async () => {
    const some = spending();
    await some.put({ tokens: 100n, calls: 10n });
    const [claim, other] = [await some.running(), await some.running()];
    await some.report(claim, { tokens: 30n, calls: 3n });
    await recorded.clients.admin.resetBudget({ budget: some.lane, dimensions: ['tokens'] });
    await some.report(other, { tokens: 50n });
    expect(await some.release(claim.executionId, { tokens: 30n, calls: 1n })).toMatchObject({
      released: { tokens: 30n, calls: 1n },
    });
    expect(await some.used()).toEqual({ tokens: 50n, calls: 2n });
    // A dimension that was taken away and comes again has nothing to do with what was used before.
    await some.put({ calls: 10n });
    await some.put({ tokens: 100n, calls: 10n });
    expect(await some.used()).toEqual({ tokens: 0n, calls: 2n });
    await some.report(other, { tokens: 5n });
    await some.report(claim, { tokens: 7n });
    await some.release(other.executionId, { tokens: 55n });
    expect(await some.used()).toEqual({ tokens: 7n, calls: 2n });
    await some.hand.complete(claim);
    await some.hand.complete(other);
  });

  it('goes to the budgets it came from, wherever they are attached by now', async () => {
    const some = spending();
    await some.put({ tokens: 100n });
    const claim = await some.running();
    await some.report(claim, { tokens: 30n });
    await some.put({ tokens: 100n }, { attachments: [] });
    await some.report(claim, { tokens: 30n });
    expect(await some.used()).toEqual({ tokens: 30n });
    await some.release(claim.executionId, { tokens: 60n });
    expect(await some.used()).toEqual({ tokens: 0n });
    await some.hand.complete(claim);
  });
});

describe('windows', () => {
  it('let use begin anew at their end, counted from their start', async () => {
    const some = spending();
    const windowStartTime = { seconds: 1_000_000_000n, nanos: 500_000_000 };
    const made = await some.put({ tokens: 10n }, { resetWindow: seconds(2), windowStartTime });
    expect(made.resetTime).toMatchObject({ nanos: 500_000_000 });
    expect(Number(made.resetTime?.seconds) % 2).toBe(0);
    const claim = await some.running();
    await some.report(claim, { tokens: 6n });
    await eventually(async () => (await some.used())['tokens'] === 0n);
    expect(await some.budget()).toMatchObject({ version: 1n, exhausted: false });
    await some.report(claim, { tokens: 6n });
    const later = Number((await some.budget()).resetTime?.seconds);
    // Not compared with what was told after the first report: its window may have ended in between.
    expect([later % 2, later > Number(made.resetTime?.seconds)]).toEqual([0, true]);
    await some.hand.complete(claim);
  });

  it('end under a report, which is counted in the new one', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { resetWindow: seconds(1) });
    const claim = await some.running();
    await some.report(claim, { tokens: 9n });
    await eventually(async () => {
      const refused = await some.report(claim, { tokens: 9n }).then(
        () => false,
        () => true,
      );
      return !refused;
    });
    expect(await budgetEntries(some.lane, 2)).toContain(LogEntryKind.BUDGET_RESET);
    await some.hand.complete(claim);
  });
});

it('use stays what it is however often it is folded', async () => {
  const some = spending();
  await some.put({ tokens: 100_000n, calls: 1_000n });
  const claim = await some.running();
  for (let n = 1; n <= 150; n++) await some.report(claim, { tokens: BigInt(n), calls: 1n });
  await some.release(claim.executionId, { tokens: 325n });
  expect(await some.used()).toEqual({ tokens: 11_000n, calls: 150n });
  await some.hand.complete(claim);
});

/** The kinds of what was logged of a budget, once there are so many. */
async function budgetEntries(budget: string, atLeast: number): Promise<LogEntryKind[]> {
  const { BUDGET_UPDATED, BUDGET_WARNED, BUDGET_EXHAUSTED, BUDGET_RESET } = LogEntryKind;
  const kinds = [BUDGET_UPDATED, BUDGET_WARNED, BUDGET_EXHAUSTED, BUDGET_RESET];
  const read = async () => {
    const { entries } = await recorded.clients.admin.listLogEntries({ filter: { kinds }, pageSize: 1_000 });
    return entries
      .filter(({ subject }) => subject === budget)
      .map(({ kind }) => kind)
      .reverse();
  };
  await eventually(async () => (await read()).length >= atLeast);
  return await read();
}
