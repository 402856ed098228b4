/**
 * Lost answers and dead servers. What was counted is counted once, whatever its caller was told; and work that is on its way
 * out of line, or back, gets there without the server that began it.
 */
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { verify } from '../../src/repository/verification/index.js';
import { refusal, seconds } from '../support/by-hand.js';
import { CrashProxy } from '../support/crash-proxy.js';
import { eventually } from '../support/eventually.js';
import { HoldingProxy } from '../support/holding-proxy.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { ServerProcess } from '../support/server-process.js';
import { FAIL, Spending, SUSPEND } from '../support/spending.js';
import { clientsOf, startTailrace, type TestTailrace } from '../support/tailrace.js';

describe('an answer that is lost', () => {
  let database: TestDatabase;
  let proxy: HoldingProxy;
  let tailrace: TestTailrace;
  beforeAll(async () => {
    database = await freshDatabase();
    const through = await HoldingProxy.before(database.url);
    proxy = through.proxy;
    tailrace = await startTailrace({ database: { ...database, url: through.url } });
  });
  afterAll(async () => {
    const rules = await verify(tailrace.running.engine.database);
    expect(rules.filter(({ violations }) => violations.length > 0)).toEqual([]);
    await tailrace.stop();
    await proxy.close();
    await database.drop();
  });

  /** Does it twice; the first time the database has done it, or never heard of it, and the connection is gone. */
  async function lost<T>(statement: string, side: 'before' | 'after', call: () => Promise<T>): Promise<void> {
    const held = proxy.hold(statement, side);
    const first = refusal(call());
    await held.reached;
    held.cut();
    expect((await first).reason).toBe('DATABASE_UNAVAILABLE');
  }

  it.each(['before', 'after'] as const)('%s the commit leaves a report that is counted once', async (side) => {
    const some = new Spending(tailrace);
    await some.put({ tokens: 10n });
    const claim = await some.running();
    await lost('budgets.report-many', side, () => some.report(claim, { tokens: 4n }, 'key'));
    expect(await some.report(claim, { tokens: 4n }, 'key')).toMatchObject({ duplicate: side === 'after' });
    expect(await some.used()).toEqual({ tokens: 4n });
    await lost('budgets.release', side, () => some.release(claim.executionId, { tokens: 3n }, 'key'));
    expect(await some.release(claim.executionId, { tokens: 3n }, 'key')).toMatchObject({
      duplicate: side === 'after',
      released: { tokens: 3n },
    });
    expect(await some.used()).toEqual({ tokens: 1n });
    await some.hand.complete(claim);
  });

  it.each([
    ['FAIL', FAIL, 'FAILED'],
    ['SUSPEND', SUSPEND, 'SUSPENDED'],
  ])('leaves a breach under %s that is told again, and done once', async (_, breachPolicy, state) => {
    const some = new Spending(tailrace);
    await some.put({ tokens: 10n }, { breachPolicy });
    const claim = await some.running();
    await lost('budgets.report', 'after', () => some.report(claim, { tokens: 11n }));
    expect(await refusal(some.report(claim, { tokens: 11n }))).toMatchObject({
      reason: 'BUDGET_EXCEEDED',
      metadata: { budget: some.lane, dimension: 'tokens', used: '0', limit: '10', state },
    });
    await some.hand.cancel(claim.executionId);
  });

  it.each(['before', 'after'] as const)('%s the commit leaves a reset and a change to be repeated', async (side) => {
    const some = new Spending(tailrace);
    await some.put({ tokens: 10n });
    const claim = await some.running();
    await some.report(claim, { tokens: 10n });
    await lost('budgets.put', side, () => some.put({ tokens: 20n }));
    expect(await some.put({ tokens: 20n })).toMatchObject({ version: 2n });
    await lost('budgets.reset', side, () => some.reset());
    expect(await some.budget()).toMatchObject({ version: side === 'after' ? 3n : 2n });
    await some.reset();
    expect(await some.used()).toEqual({ tokens: 0n });
    await some.hand.complete(claim);
  });
});

/** Statements that move work out of line and back, and those before and after them. */
const MATTERS = /^budgets\.(put|reset|report)|^sweeping\.budgets/;
const COUNT = 1_200;

interface Operation {
  readonly prepare: (some: Spending) => Promise<void>;
  readonly act: (some: Spending) => Promise<unknown>;
  readonly finished: (some: Spending) => Promise<void>;
}

async function fill(some: Spending): Promise<void> {
  for (let n = 0; n < COUNT; n += 600) {
    await some.hand.create(...Array.from({ length: 600 }, () => ({ lane: some.lane })));
  }
}

const held = (count: number) => async (some: Spending) =>
  await eventually(async () => (await some.budget()).blockedCount === BigInt(count), 60_000);

async function allStart(some: Spending): Promise<void> {
  const seen = new Set<string>();
  while (seen.size < COUNT) {
    const claims = await some.hand.claim({
      lanes: [{ lane: some.lane }],
      maxExecutions: 500,
      leaseDuration: seconds(600),
      wait: seconds(20),
    });
    if (claims.length === 0) throw new Error(`${seen.size} of ${COUNT} were let go`);
    for (const { executionId } of claims) seen.add(executionId);
  }
}

const OPERATIONS: Readonly<Record<string, Operation>> = {
  'taking work out of line': {
    prepare: fill,
    act: async (some) => await some.put({ tokens: 0n }),
    finished: held(COUNT),
  },
  'letting work go': {
    prepare: async (some) => {
      await fill(some);
      await some.put({ tokens: 0n });
      await held(COUNT)(some);
    },
    act: async (some) => await some.put({ tokens: 1n }),
    finished: async (some) => {
      await held(0)(some);
      await allStart(some);
    },
  },
};

describe.concurrent.each(Object.entries(OPERATIONS))('%s', (_, { prepare, act, finished }) => {
  test.each([1, 2, 3, 4])('is finished by another server when one dies after statement %i', async (point) => {
    const database = await freshDatabase();
    const { proxy, url } = await CrashProxy.before(database.url);
    const doomed = await ServerProcess.start({ ...database, url });
    const there = new Spending(clientsOf(doomed.url));
    await prepare(there);
    let left = point;
    proxy.crashAfter(
      (statement) => MATTERS.test(statement) && --left === 0,
      () => doomed.strike(),
    );
    const isAnswered = await act(there).then(
      () => true,
      () => false,
    );
    await eventually(() => proxy.crashed, 60_000);
    await doomed.kill();
    await proxy.close();
    const survivor = await startTailrace({ database });
    // Whoever got no answer asks again: a sweep of before may have been the statement.
    if (!isAnswered) await act(there.at(survivor));
    await finished(there.at(survivor));
    const rules = await verify(survivor.running.engine.database);
    expect(rules.filter(({ violations }) => violations.length > 0)).toEqual([]);
    await survivor.stop();
    await database.drop();
  });
});

test('the end of a window is applied by a server that was not there when it was used up', async () => {
  const database = await freshDatabase();
  const first = await startTailrace({ database });
  const some = new Spending(first);
  await some.put({ tokens: 10n }, { resetWindow: seconds(3), breachPolicy: SUSPEND });
  const claims: Claim[] = [await some.running(), await some.running()];
  await refusal(some.report(claims[0] as Claim, { tokens: 11n }));
  await some.report(claims[1] as Claim, { tokens: 10n });
  const waiting = await some.queued();
  await some.becomes(waiting, ExecutionState.BLOCKED, 2_000).catch(() => undefined);
  await first.stop();
  const second = await startTailrace({ database });
  const there = some.at(second);
  for (const claim of [await there.next(), await there.next()]) await there.hand.complete(claim);
  await second.stop();
  await database.drop();
});
