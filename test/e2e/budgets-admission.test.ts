/** Work whose budget is used up is not started, says so, and starts by itself when there is some again. */
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { monotonicMs, wallMs } from '../../src/runtime/clock.js';
import { only, refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { ofExecution, ofFlow, ofLane, ofNamespace, Spending } from '../support/spending.js';

const { QUEUED, BLOCKED, SCHEDULED, CANCELED, EXPIRED } = ExecutionState;
/** Work starts within so long of the change that lets it. */
const BOUND_MS = 8_000;

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

const spending = () => new Spending(recorded.clients);

/** Somebody has used the budget up, and has ended. */
async function usedUp(some: Spending, more: Parameters<Spending['put']>[1] = {}): Promise<void> {
  await some.put({ tokens: 10n }, more);
  const claim = await some.running();
  await some.report(claim, { tokens: 10n });
  await some.hand.complete(claim);
}

describe('work of a lane whose budget is used up', () => {
  it('is taken out of line, is not handed out, and says why', async () => {
    const some = spending();
    const before = await some.queued();
    await usedUp(some);
    await some.becomes(before, BLOCKED);
    const [hold] = await some.holds(before);
    expect(hold).toMatchObject({ subject: some.lane, current: 10n, limit: 10n });
    expect(hold?.message).toContain('10 of 10 tokens');
    const { execution } = await recorded.clients.admin.getExecution({ executionId: before });
    expect(execution?.block).toMatchObject({ subject: some.lane });
    const later = await some.queued();
    expect(await some.holds(later)).toMatchObject([{ subject: some.lane }]);
    for (const execution of [before, later]) {
      const { reason, metadata } = await refusal(some.claim(execution));
      expect(['WRONG_STATE', 'BUDGET_EXCEEDED']).toContain(reason);
      if (reason === 'BUDGET_EXCEEDED') expect(metadata).toMatchObject({ budget: some.lane });
    }
    expect(await some.hand.claim({ lanes: [{ lane: some.lane }], wait: seconds(0.5) })).toEqual([]);
    expect((await some.budget()).blockedCount).toBeGreaterThanOrEqual(1n);
    await some.reset();
    for (const claim of [await some.next(), await some.next()]) await some.hand.complete(claim);
    expect(await some.budget()).toMatchObject({ exhausted: false, blockedCount: 0n });
  });

  it('does not hold up work of other lanes', async () => {
    const [some, other] = [spending(), spending()];
    await usedUp(some);
    await some.queued();
    const wanted = await other.queued();
    const lanes = [{ lane: some.lane }, { lane: other.lane }];
    const claim = only(await some.hand.claim({ lanes, maxExecutions: 5 }));
    expect(claim.executionId).toBe(wanted);
    await other.hand.complete(claim);
    await some.reset();
    await some.hand.complete(await some.next());
  });

  it.each([
    ['reset', async (some: Spending) => some.reset()],
    ['raised', async (some: Spending) => some.put({ tokens: 11n })],
    ['detached', async (some: Spending) => some.put({ tokens: 10n }, { attachments: [] })],
    ['given back to', giveBack],
  ])('starts by itself soon once the budget is %s', async (_, change) => {
    const some = spending();
    const waiting = await some.queued();
    await usedUp(some);
    await some.becomes(waiting, BLOCKED);
    const claimed = some.next();
    const begun = monotonicMs();
    await change(some);
    const claim = await claimed;
    expect(claim.executionId).toBe(waiting);
    expect(monotonicMs() - begun).toBeLessThan(BOUND_MS);
    await some.hand.complete(claim);
  });

  it('starts by itself soon after the end of the window', async () => {
    const some = spending();
    const waiting = await some.queued();
    await usedUp(some, { resetWindow: seconds(3_600) });
    await some.becomes(waiting, BLOCKED);
    const { resetTime } = await some.put({ tokens: 10n }, { resetWindow: seconds(2) });
    const claim = await some.next();
    expect(claim.executionId).toBe(waiting);
    const late = wallMs() - (resetTime ? timestampMs(resetTime) : 0);
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThan(BOUND_MS);
    await some.hand.complete(claim);
    expect(await some.budget()).toMatchObject({ exhausted: false, version: 2n });
  });

  it('is used up by a limit of nothing, and by a limit that is lowered', async () => {
    const some = spending();
    const waiting = await some.queued();
    expect(await some.put({ tokens: 0n })).toMatchObject({ exhausted: true });
    await some.becomes(waiting, BLOCKED);
    await some.reset();
    expect(await some.budget()).toMatchObject({ exhausted: true });
    await some.put({ tokens: 10n });
    const claim = await some.next();
    await some.report(claim, { tokens: 5n });
    const second = await some.queued();
    expect(await some.put({ tokens: 4n })).toMatchObject({ exhausted: true });
    await some.becomes(second, BLOCKED);
    // What runs may tell of nothing more; it may give back.
    expect((await refusal(some.report(claim, { tokens: 1n }))).metadata).toMatchObject({ used: '5', limit: '4' });
    await some.release(claim.executionId, { tokens: 2n });
    await some.hand.complete(await some.next());
    await some.hand.complete(claim);
  });

  it('may still be canceled, changed, and expire', async () => {
    const some = spending();
    const [canceled, expiring, changed] = await some.hand.create(
      { lane: some.lane },
      { lane: some.lane, ttl: seconds(5) },
      { lane: some.lane, priority: -5 },
    );
    await usedUp(some);
    for (const id of [canceled, expiring, changed]) await some.becomes(id ?? '', BLOCKED);
    await some.hand.cancel(canceled ?? '');
    await some.becomes(canceled ?? '', CANCELED);
    await some.becomes(expiring ?? '', EXPIRED);
    await recorded.clients.admin.changeExecution({ executionId: changed ?? '', priority: 5 });
    const urgent = await some.queued({ priority: 4 });
    await some.reset();
    await some.becomes(changed ?? '', QUEUED);
    expect((await some.next()).executionId).toBe(changed);
    expect((await some.next()).executionId).toBe(urgent);
  });

  it('waits for its time first, and is held back when that has come', async () => {
    const some = spending();
    const scheduled = await some.queued({ delay: seconds(3_600) });
    await usedUp(some);
    expect(await some.hand.state(scheduled)).toBe(SCHEDULED);
    const runTime = timestampFromMs(wallMs() + 500);
    await recorded.clients.admin.changeExecution({ executionId: scheduled, runTime });
    await eventually(async () => (await some.hand.state(scheduled)) !== SCHEDULED);
    expect(await some.holds(scheduled)).toMatchObject([{ subject: some.lane }]);
    await some.reset();
    await some.hand.complete(await some.next());
  });

  it('gives way to others of its concurrency key, and queues for it again', async () => {
    const [some, other] = [spending(), spending()];
    const keyed = { concurrencyKey: 'shared' };
    await recorded.clients.admin.updateLane({
      lane: some.lane,
      settings: { keyLimits: [{ key: 'shared', limit: 1 }] },
    });
    const [first, second] = await some.hand.create({ lane: some.lane, ...keyed }, { lane: some.lane, ...keyed });
    expect(await some.hand.state(second ?? '')).toBe(BLOCKED);
    // Only the first is bounded by this one.
    await other.put({ tokens: 0n }, { attachments: [ofExecution(first ?? '')] });
    const claim = await some.next();
    expect(claim.executionId).toBe(second);
    await other.put({ tokens: 1n }, { attachments: [ofExecution(first ?? '')] });
    await some.hand.complete(claim);
    expect((await some.next()).executionId).toBe(first);
  });
});

describe('other attachments', () => {
  it('hold back a namespace', async () => {
    const some = spending();
    const namespace = 'held-back';
    const { engine, admin } = recorded.clients;
    const spec = { name: 'all of it', limits: { tokens: { hardLimit: 0n } }, attachments: [ofNamespace] };
    await admin.putBudget({ namespace, budget: spec });
    const { results } = await engine.createExecutions({ namespace, executions: [{ type: 'work' }, { type: 'other' }] });
    const worker = some.hand.worker;
    const claim = (wait: number) =>
      engine.claimExecutions({ namespace, worker, maxExecutions: 2, wait: seconds(wait) });
    expect((await claim(0.3)).claims).toEqual([]);
    const claimed = claim(5);
    await admin.putBudget({ namespace, budget: { ...spec, attachments: [] } });
    expect((await claimed).claims.length).toBeGreaterThan(0);
    expect(results).toHaveLength(2);
  });

  it('hold back members of a flow, also those that are released meanwhile', async () => {
    const some = spending();
    const hand = new FlowsByHand(recorded.clients);
    const flow = await hand.flow({
      members: { first: {}, beside: {}, after: {} },
      links: [['first', 'after']],
    });
    const first = await flow.claim('first', { leaseDuration: seconds(60) });
    await some.put({ tokens: 10n }, { attachments: [ofFlow(flow.id)] });
    await some.report(first, { tokens: 10n });
    await some.becomes(flow.of('beside'), BLOCKED);
    await hand.complete(first);
    const lanes = [{ lane: flow.lane }];
    expect(await hand.claim({ lanes, wait: seconds(0.5) })).toEqual([]);
    await eventually(async () => (await some.budget()).blockedCount === 2n);
    await some.becomes(flow.of('after'), BLOCKED);
    const outside = await hand.createOne({ lane: flow.lane });
    const claim = await hand.claimOne({ lanes });
    expect(claim.executionId).toBe(outside);
    await hand.complete(claim);
    await some.reset();
    await flow.complete('beside');
    await flow.complete('after');
  });

  it('hold back single executions among many', async () => {
    const some = spending();
    const ids = await some.hand.create(...Array.from({ length: 20 }, () => ({ lane: some.lane })));
    const held = ids.filter((_, i) => i % 2 === 0);
    await some.put({ tokens: 0n }, { attachments: held.map(ofExecution) });
    const free: Claim[] = [];
    while (free.length < 10) {
      free.push(...(await some.hand.claim({ lanes: [{ lane: some.lane }], maxExecutions: 20 })));
    }
    expect(new Set(free.map(({ executionId }) => executionId))).toEqual(new Set(ids.filter((_, i) => i % 2 === 1)));
    for (const id of held) await some.becomes(id, BLOCKED);
    await some.put({ tokens: 0n }, { attachments: held.slice(1).map(ofExecution) });
    expect((await some.next()).executionId).toBe(held[0]);
    await some.put({ tokens: 1n }, { attachments: held.map(ofExecution) });
    for (const _ of held.slice(1)) await some.next();
  });
});

it('work that several budgets bound starts when the last of them is there again', async () => {
  const some = spending();
  const [one, two] = [`${some.lane} one`, `${some.lane} two`];
  const waiting = await some.queued();
  for (const name of [one, two]) await some.put({ tokens: 0n }, { name });
  await some.becomes(waiting, BLOCKED);
  expect(await some.holds(waiting)).toMatchObject([{ subject: one }, { subject: two }]);
  await some.put({ tokens: 1n }, { name: one });
  await eventually(async () => (await some.budget(two)).blockedCount === 1n);
  expect(await some.hand.state(waiting)).toBe(BLOCKED);
  expect(await some.holds(waiting)).toMatchObject([{ subject: two }]);
  await some.put({ tokens: 0n }, { name: one });
  await some.put({ tokens: 1n }, { name: two });
  await eventually(async () => (await some.budget(one)).blockedCount === 1n);
  await some.put({ tokens: 1n }, { name: one });
  await some.hand.complete(await some.next());
});

it('a thousand executions are moved out of line and back', async () => {
  const some = spending();
  await some.hand.create(...Array.from({ length: 1_000 }, () => ({ lane: some.lane })));
  await some.put({ tokens: 0n }, { attachments: [ofLane(some.lane)] });
  await eventually(async () => (await some.budget()).blockedCount === 1_000n);
  await some.put({ tokens: 1n });
  await eventually(async () => (await some.budget()).blockedCount === 0n);
  const seen = new Set<string>();
  while (seen.size < 1_000) {
    for (const { executionId } of await some.hand.claim({ lanes: [{ lane: some.lane }], maxExecutions: 500 })) {
      seen.add(executionId);
    }
  }
});

/** Somebody else gives back what he has used: it was his all along. */
async function giveBack(some: Spending): Promise<void> {
  const { executions } = await recorded.clients.admin.listExecutions({ filter: { lanes: [some.lane] } });
  for (const { executionId } of executions) await some.release(executionId, { tokens: 1n });
}
