/** Budgets as handlers meet them: told, warned, refused, parked until there is room, or given up. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { BudgetBreachPolicy } from '../../gen/tailrace/v1/budget_pb.js';
import { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { SuspensionReason } from '../../gen/tailrace/v1/signal_pb.js';
import { type Client, Content } from '../../src/client/index.js';
import { BudgetExceededError, type Handler, ResumeCause, signal } from '../../src/worker/index.js';
import { eventually } from '../support/eventually.js';
import { Workplace } from '../support/workplace.js';

const BOUND = { timeoutMs: 20_000 };

let place: Workplace;
let client: Client;
let logged: string[] = [];
let lane: string;
let lanes = 0;
beforeAll(async () => {
  place = await Workplace.start();
  ({ client } = place);
});
afterEach(() => place.endOfWork());
afterAll(() => place.stop());

async function working(handler: Handler): Promise<void> {
  logged = [];
  const log = (_: string, message: string) => void logged.push(message);
  await place.work(lane, { spend: handler }, { log });
}

/** A budget of the lane, over `tokens`; its name is the lane's. */
async function budget(hardLimit: bigint, breachPolicy = BudgetBreachPolicy.REFUSE, softLimit = 0n): Promise<void> {
  const limits = { tokens: { hardLimit, softLimit } };
  const attachments = [{ subject: { case: 'lane' as const, value: lane } }];
  await client.admin.putBudget({ budget: { name: lane, limits, attachments, breachPolicy } });
}

async function used(): Promise<bigint | undefined> {
  return (await client.admin.getBudget({ budget: lane })).budget?.uses[0]?.used;
}

async function outcomeOf(executionId: string) {
  const { outcome } = await client.awaitExecution(executionId, BOUND);
  return { ...outcome, result: new Content(outcome?.result).json() };
}

test('use is counted, soft limits are told, and what was not needed is given back', async () => {
  lane = `budgets-${lanes++}`;
  await budget(100n, BudgetBreachPolicy.REFUSE, 50n);
  await working(async (context) => {
    const first = await context.reportUsage({ tokens: 40 }, { key: 'one' });
    const again = await context.reportUsage({ tokens: 40 }, { key: 'one' });
    const second = await context.reportUsage({ tokens: 20, cents: 7 });
    const { tokens } = await context.releaseUsage({ tokens: 15 });
    const { budget, dimension, used, softLimit, hardLimit } = second.warnings[0] ?? {};
    const warning = [budget, dimension, ...[used, softLimit, hardLimit].map(Number)];
    return [first.duplicate, again.duplicate, first.warnings.length, warning, Number(tokens)];
  });
  const { executionId } = await client.create({ type: 'spend', lane });
  expect((await outcomeOf(executionId)).result).toEqual([false, true, 0, [lane, 'tokens', 60, 50, 100], 15]);
  expect(await used()).toBe(45n);
});

test('a breach that is only refused leaves it to the handler', async () => {
  lane = `budgets-${lanes++}`;
  await budget(100n);
  await working(async (context) => {
    try {
      await context.reportUsage({ tokens: 101 });
    } catch (error) {
      if (!(error instanceof BudgetExceededError)) throw error;
      await context.reportUsage({ tokens: 99 });
      return [error.effect, error.budget, error.dimension, Number(error.used), Number(error.limit)];
    }
    return 'there was enough';
  });
  const { executionId } = await client.create({ type: 'spend', lane });
  expect((await outcomeOf(executionId)).result).toEqual(['refused', lane, 'tokens', 0, 100]);
  expect(await used()).toBe(99n);
});

test('a breach that suspends stops the handler, which goes on once there is room', async () => {
  lane = `budgets-${lanes++}`;
  await budget(100n, BudgetBreachPolicy.SUSPEND);
  const seen: unknown[] = [];
  let told = () => {};
  const isTold = new Promise<void>((resolve) => {
    told = resolve;
  });
  await working(async (context) => {
    seen.push(context.resume?.cause);
    // The signal is there before it is waited for, so that this wait parks nothing.
    await isTold;
    const { signals } = await context.suspend({ condition: signal('go') });
    try {
      await context.reportUsage({ tokens: 150 }, { key: 'model call' });
    } catch (error) {
      seen.push((error as BudgetExceededError).effect);
      return 'nobody gets this';
    }
    await context.suspend({ condition: signal('done') });
    return signals[0]?.name;
  });
  const { executionId } = await client.create({ type: 'spend', lane });
  const tell = (name: string) =>
    client.engine.signalExecution({ target: { case: 'execution', value: { executionId } }, name });
  const suspension = async () => (await client.admin.listSuspendedExecutions({ lanes: [lane] })).suspensions[0];
  await tell('go');
  told();
  await eventually(async () => (await suspension())?.reason === SuspensionReason.POLICY);
  expect(await used()).toBe(0n);
  await budget(200n, BudgetBreachPolicy.SUSPEND);
  await eventually(async () => (await suspension())?.reason === SuspensionReason.SIGNAL);
  expect(await used()).toBe(150n);
  await tell('done');
  expect(await outcomeOf(executionId)).toMatchObject({
    state: ExecutionState.SUCCEEDED,
    attemptNumber: 1,
    result: 'go',
  });
  expect(seen).toEqual([undefined, 'suspended', ResumeCause.BUDGET, ResumeCause.SATISFIED]);
  expect(logged).toEqual([]);
});

test('an operator who lets go on what a budget has parked answers no wait of the handler', async () => {
  lane = `budgets-${lanes++}`;
  await budget(100n, BudgetBreachPolicy.SUSPEND);
  let charge = 150;
  await working(async (context) => {
    await context.reportUsage({ tokens: charge }, { key: 'model call' }).catch(() => {});
    const { signals } = await context.suspend({ condition: signal('approved') });
    await context.sleep(100);
    return signals.map(({ name, source }) => `${name} by ${source}`);
  });
  const { executionId } = await client.create({ type: 'spend', lane });
  const suspension = async () => (await client.admin.listSuspendedExecutions({ lanes: [lane] })).suspensions[0];
  await eventually(async () => (await suspension())?.reason === SuspensionReason.POLICY);
  charge = 50;
  await client.admin.resumeExecution({ executionId, signalName: 'approved', actor: 'ada' });
  await eventually(async () => (await suspension())?.suspensionNumber === 2);
  await client.engine.signalExecution({ target: { case: 'execution', value: { executionId } }, name: 'approved' });
  expect((await outcomeOf(executionId)).result).toEqual(['approved by system']);
});

test('a breach that fails ends the execution once, whatever the handler makes of it', async () => {
  lane = `budgets-${lanes++}`;
  await budget(100n, BudgetBreachPolicy.FAIL);
  let reason: unknown;
  await working(async (context) => {
    await context.reportUsage({ tokens: 101 }).catch(() => {});
    reason = context.signal.reason;
    throw new Error('something else');
  });
  const { executionId } = await client.create({ type: 'spend', lane });
  expect(await outcomeOf(executionId)).toMatchObject({
    state: ExecutionState.FAILED,
    reason: EndReason.BUDGET,
    attemptNumber: 1,
  });
  await eventually(() => reason !== undefined);
  expect(reason).toMatchObject({ name: 'BudgetExceededError', effect: 'ended' });
  expect(logged).toEqual([]);
  const { deadLetters } = await client.deadLetters.listDeadLetters({ filter: { lanes: [lane] } });
  expect(deadLetters).toHaveLength(1);
});
