/** Budgets as operators put, find and change them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BudgetBreachPolicy } from '../../gen/tailrace/v1/budget_pb.js';
import { only, refusal, seconds } from '../support/by-hand.js';
import { FlowsByHand } from '../support/flows-by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import { limitsOf, ofExecution, ofFlow, ofLane, ofNamespace, Spending } from '../support/spending.js';

const NOBODY = '018f0000-0000-7000-8000-000000000000';

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

const spending = () => new Spending(recorded.clients);
const put = (budget: object, more = {}) =>
  recorded.clients.admin.putBudget({ budget: { name: 'some', limits: limitsOf({ tokens: 1n }), ...budget }, ...more });

describe('PutBudget', () => {
  it('answers the budget as it was asked for, with its defaults', async () => {
    const some = spending();
    const made = await some.put({ tokens: [10n, 5n], calls: 3n });
    expect(made).toMatchObject({
      namespace: 'default',
      spec: {
        name: some.lane,
        limits: { tokens: { hardLimit: 10n, softLimit: 5n }, calls: { hardLimit: 3n, softLimit: 0n } },
        attachments: [{ subject: { case: 'lane', value: some.lane } }],
        breachPolicy: BudgetBreachPolicy.REFUSE,
        windowStartTime: made.createTime,
      },
      uses: [
        { dimension: 'calls', used: 0n },
        { dimension: 'tokens', used: 0n },
      ],
      exhausted: false,
      version: 1n,
      blockedCount: 0n,
    });
    expect([made.resetTime, made.spec?.resetWindow]).toEqual([undefined, undefined]);
    expect(made.updateTime).toEqual(made.createTime);
    expect(await some.budget()).toEqual(made);
  });

  it('keeps use and version when nothing differs, and use when something does', async () => {
    const some = spending();
    const made = await some.put(
      { tokens: 10n },
      { resetWindow: seconds(3_600), attachments: [ofLane('x'), ofNamespace] },
    );
    const again = { resetWindow: seconds(3_600), attachments: [ofNamespace, ofLane('x'), ofLane('x')] };
    expect(await some.put({ tokens: 10n }, again)).toEqual(made);
    await some.put({ tokens: 10n });
    const claim = await some.running();
    await some.report(claim, { tokens: 4n });
    const changed = await some.put({ tokens: 20n, calls: 1n }, { resetWindow: seconds(7_200) });
    expect(changed).toMatchObject({ version: 3n, uses: [{ used: 0n }, { dimension: 'tokens', used: 4n }] });
    expect(changed.createTime).toEqual(made.createTime);
    await some.hand.complete(claim);
  });

  it('is held to the version that the caller saw', async () => {
    const some = spending();
    const spec = (limit: bigint) => ({ name: some.lane, limits: limitsOf({ tokens: limit }) });
    const early = await refusal(put(spec(1n), { expectedVersion: 1n }));
    expect(early).toMatchObject({ reason: 'VERSION_CONFLICT', metadata: { current_version: '0' } });
    await put(spec(1n));
    await put(spec(2n), { expectedVersion: 1n });
    const late = await refusal(put(spec(3n), { expectedVersion: 1n }));
    expect(late).toMatchObject({ reason: 'VERSION_CONFLICT', metadata: { current_version: '2' } });
    const reset = (expectedVersion: bigint) =>
      recorded.clients.admin.resetBudget({ budget: some.lane, expectedVersion });
    expect((await refusal(reset(1n))).metadata).toMatchObject({ current_version: '2' });
    expect(await reset(2n)).toMatchObject({ budget: { version: 3n } });
  });

  it('attaches to what there is, and makes lanes', async () => {
    expect((await refusal(put({ attachments: [ofFlow(NOBODY)] }))).reason).toBe('FLOW_NOT_FOUND');
    expect((await refusal(put({ attachments: [ofLane('x'), ofExecution(NOBODY)] }))).reason).toBe(
      'EXECUTION_NOT_FOUND',
    );
    const some = spending();
    const execution = await some.queued();
    const elsewhere = { namespace: 'elsewhere', budget: { name: 'x', limits: limitsOf({ tokens: 1n }) } };
    const foreign = { ...elsewhere, budget: { ...elsewhere.budget, attachments: [ofExecution(execution)] } };
    expect((await refusal(recorded.clients.admin.putBudget(foreign))).reason).toBe('EXECUTION_NOT_FOUND');
    await some.put({ tokens: 0n }, { attachments: [ofLane('new lane'), ofExecution(execution.toUpperCase())] });
    const { lane } = await recorded.clients.admin.getLane({ lane: 'new lane' });
    expect(lane?.lane).toBe('new lane');
    await some.put({ tokens: 1n });
    await some.hand.complete(await some.next());
  });

  it.each([
    ['no name', { name: '' }, 'budget.name'],
    ['a long name', { name: 'x'.repeat(201) }, 'budget.name'],
    ['no limits', { limits: {} }, 'budget.limits'],
    ['too many limits', { limits: limitsOf(Object.fromEntries(numbered(17).map((d) => [d, 1n]))) }, 'budget.limits'],
    ['an empty dimension', { limits: limitsOf({ '': 1n }) }, 'budget.limits[""]'],
    ['a negative limit', { limits: limitsOf({ a: -1n }) }, 'budget.limits["a"].hard_limit'],
    ['a soft limit over the hard one', { limits: limitsOf({ a: [1n, 2n] }) }, 'budget.limits["a"].soft_limit'],
    ['a negative soft limit', { limits: limitsOf({ a: [1n, -2n] }) }, 'budget.limits["a"].soft_limit'],
    ['too many attachments', { attachments: numbered(1_001).map(ofLane) }, 'budget.attachments'],
    ['no lane', { attachments: [ofLane('')] }, 'budget.attachments[0].lane'],
    ['what is no flow', { attachments: [ofNamespace, ofFlow('x')] }, 'budget.attachments[1].flow_id'],
    ['what is no execution', { attachments: [ofExecution('x')] }, 'budget.attachments[0].execution_id'],
    ['a short window', { resetWindow: seconds(0.5) }, 'budget.reset_window'],
    ['a long window', { resetWindow: seconds(367 * 86_400) }, 'budget.reset_window'],
    ['a policy that is none', { breachPolicy: 9 as BudgetBreachPolicy }, 'budget.breach_policy'],
  ])('is refused with %s', async (_, wrong, field) => {
    const { reason, fieldViolations } = await refusal(put(wrong));
    expect([reason, fieldViolations.map((violation) => violation.field)]).toEqual(['INVALID_FIELD', [field]]);
  });

  it('needs a budget, and takes a thousand attachments', async () => {
    expect((await refusal(recorded.clients.admin.putBudget({}))).fieldViolations).toMatchObject([{ field: 'budget' }]);
    const some = spending();
    const attachments = numbered(1_000).map(ofLane);
    expect((await some.put({ tokens: 0n }, { attachments })).spec?.attachments).toHaveLength(1_000);
    const execution = await some.queued({ lane: 'n999' });
    expect(await some.holds(execution)).toMatchObject([{ subject: some.lane }]);
    await some.put({ tokens: 0n });
    expect((await some.hand.claimOne({ lanes: [{ lane: 'n999' }] })).executionId).toBe(execution);
  });
});

describe('ResetBudget', () => {
  it('is for some dimensions or all, and says what it does not know', async () => {
    const some = spending();
    await some.put({ tokens: 10n, calls: 10n });
    const claim = await some.running();
    await some.report(claim, { tokens: 4n, calls: 2n });
    const reset = (dimensions: string[], budget = some.lane) =>
      recorded.clients.admin.resetBudget({ budget, dimensions });
    const unknown = await refusal(reset(['tokens', 'other']));
    expect(unknown).toMatchObject({ reason: 'INVALID_FIELD', fieldViolations: [{ field: 'dimensions[1]' }] });
    expect(await some.used()).toEqual({ tokens: 4n, calls: 2n });
    await reset(['calls', 'calls']);
    expect(await some.used()).toEqual({ tokens: 4n, calls: 0n });
    await reset([]);
    expect(await some.used()).toEqual({ tokens: 0n, calls: 0n });
    expect((await refusal(reset([], 'nobody'))).reason).toBe('BUDGET_NOT_FOUND');
    await some.hand.complete(claim);
  });
});

describe('reading', () => {
  it('finds by name, by attachment and by what is used up, page by page', async () => {
    const namespace = 'read';
    const { admin, engine } = recorded.clients;
    const { results } = await engine.createExecutions({ namespace, executions: [{ type: 'work' }] });
    const [created] = results;
    const execution = created?.result.case === 'ok' ? created.result.value.executionId : '';
    const flow = await new FlowsByHand(recorded.clients).flow({ members: { only: {} } }, {});
    const budgets = {
      all: [ofNamespace],
      lane: [ofLane('a'), ofLane('b')],
      one: [ofExecution(execution)],
      nobody: [],
    };
    for (const [name, attachments] of Object.entries(budgets)) {
      const limits = limitsOf({ tokens: name === 'nobody' ? 0n : 10n });
      await admin.putBudget({ namespace, budget: { name, limits, attachments } });
    }
    const names = async (ask = {}) =>
      (await admin.listBudgets({ namespace, ...ask })).budgets.map(({ spec }) => spec?.name);
    expect(await names()).toEqual(['all', 'lane', 'nobody', 'one']);
    expect(await names({ exhaustedOnly: true })).toEqual(['nobody']);
    expect(await names({ attachment: ofNamespace })).toEqual(['all']);
    expect(await names({ attachment: ofLane('b') })).toEqual(['lane']);
    expect(await names({ attachment: ofLane('c') })).toEqual([]);
    expect(await names({ attachment: ofExecution(execution) })).toEqual(['one']);
    expect(await names({ attachment: ofFlow(flow.id) })).toEqual([]);
    expect(await names({ namespace: 'never used' })).toEqual([]);
    const first = await admin.listBudgets({ namespace, pageSize: 3 });
    expect(first.budgets).toHaveLength(3);
    const rest = await admin.listBudgets({ namespace, pageSize: 3, pageToken: first.nextPageToken });
    expect([only(rest.budgets).spec?.name, rest.nextPageToken]).toEqual(['one', '']);
    const other = admin.listBudgets({ namespace, exhaustedOnly: true, pageToken: first.nextPageToken });
    expect((await refusal(other)).reason).toBe('BAD_CURSOR');
    expect((await refusal(admin.getBudget({ namespace, budget: 'x' }))).reason).toBe('BUDGET_NOT_FOUND');
    expect((await refusal(admin.getBudget({ budget: 'all' }))).reason).toBe('BUDGET_NOT_FOUND');
  });

  it('tells of a window that has ended before anybody applied that', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { resetWindow: seconds(1), windowStartTime: { seconds: 1n } });
    const claim = await some.running();
    await some.report(claim, { tokens: 3n });
    const { resetTime } = await some.budget();
    const later = async () => {
      const budget = await some.budget();
      return budget.resetTime?.seconds === resetTime?.seconds ? undefined : budget;
    };
    let budget = await later();
    while (budget === undefined) budget = await later();
    expect(budget.uses).toMatchObject([{ used: 0n }]);
    await some.hand.complete(claim);
  });
});

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `n${i}`);
}
