/** Many at once: no hard limit is passed, nothing is counted twice or lost, and nobody is held back for good. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { leaseOf, refusal, seconds } from '../support/by-hand.js';
import { Chance } from '../support/chance.js';
import { eventually } from '../support/eventually.js';
import { HeldRows } from '../support/held-rows.js';
import { Recorded } from '../support/history/recorded.js';
import { ofExecution, ofLane, ofNamespace, Spending, SUSPEND } from '../support/spending.js';
import type { Clients } from '../support/tailrace.js';

const { QUEUED, BLOCKED } = ExecutionState;

let recorded: Recorded;
let servers: readonly Clients[];
beforeAll(async () => {
  recorded = await Recorded.start();
  servers = [recorded.clients, (await recorded.another()).clients];
});
afterAll(() => recorded.stop());

const spending = () => new Spending(recorded.clients);

/** True if it was counted, false if the budget had no room; anything else fails the test. */
async function counted(clients: Clients, claim: Claim, usage: Record<string, bigint>, key = ''): Promise<boolean> {
  try {
    await clients.engine.reportUsage({ lease: leaseOf(claim), usage, idempotencyKey: key });
    return true;
  } catch (error) {
    const { reason } = await refusal(Promise.reject(error));
    expect(reason).toBe('BUDGET_EXCEEDED');
    return false;
  }
}

const server = (n: number): Clients => servers[n % servers.length] as Clients;
const sum = (amounts: readonly bigint[]) => amounts.reduce((a, b) => a + b, 0n);

describe('reports that race', () => {
  it('never pass a hard limit: 1,000 of 50 executions over two servers', async () => {
    const some = spending();
    await some.put({ tokens: 2_000n, calls: 900n });
    const claims = await Promise.all(Array.from({ length: 50 }, () => some.running()));
    const asked = Array.from({ length: 1_000 }, (_, n) => ({
      claim: claims[n % claims.length] as Claim,
      usage: { tokens: BigInt(1 + (n % 7)), calls: 1n },
    }));
    const accepted = await Promise.all(asked.map(({ claim, usage }, n) => counted(server(n), claim, usage)));
    const kept = asked.filter((_, n) => accepted[n]);
    const used = { tokens: sum(kept.map(({ usage }) => usage.tokens)), calls: BigInt(kept.length) };
    expect(await some.used()).toEqual(used);
    // Something of 7 or less did not fit.
    expect(kept.length).toBeLessThan(1_000);
    expect(used.tokens > 1_993n && used.tokens <= 2_000n).toBe(true);
    await Promise.all(claims.map((claim) => some.hand.complete(claim)));
  });

  it('count a key once, whoever is first', async () => {
    const some = spending();
    await some.put({ tokens: 1_000n });
    const claims = await Promise.all(Array.from({ length: 5 }, () => some.running()));
    const tries = Array.from({ length: 200 }, (_, n) => ({ claim: claims[n % 5] as Claim, key: `key ${n % 10}` }));
    await Promise.all(tries.map(({ claim, key }, n) => counted(server(n >> 1), claim, { tokens: 3n }, key)));
    const distinct = new Set(tries.map(({ claim, key }) => claim.executionId + key)).size;
    expect(await some.used()).toEqual({ tokens: BigInt(distinct) * 3n });
    const back = tries.map(({ claim, key }, n) =>
      server(n >> 1).engine.releaseUsage({
        executionId: claim.executionId,
        usage: { tokens: 2n },
        idempotencyKey: key,
      }),
    );
    const answers = await Promise.all(back);
    expect(answers.filter(({ duplicate }) => !duplicate)).toHaveLength(distinct);
    expect(await some.used()).toEqual({ tokens: BigInt(distinct) });
    await Promise.all(claims.map((claim) => some.hand.complete(claim)));
  });

  it('fit every budget that bounds them, in whatever order those stand', async () => {
    const some = [spending(), spending()] as const;
    const everything = `${some[0].lane} and ${some[1].lane}`;
    await some[0].put({ tokens: 500n }, { name: everything, attachments: some.map(({ lane }) => ofLane(lane)) });
    for (const one of some) await one.put({ tokens: 300n });
    const claims = await Promise.all(Array.from({ length: 20 }, (_, n) => (some[n % 2] as Spending).running()));
    const own = (claim: Claim) => `of ${claim.executionId}`;
    for (const claim of claims) {
      await some[0].put({ tokens: 40n }, { name: own(claim), attachments: [ofExecution(claim.executionId)] });
    }
    const accepted = new Map<Claim, bigint>(claims.map((claim) => [claim, 0n]));
    const reports = Array.from({ length: 600 }, async (_, n) => {
      const claim = claims[n % claims.length] as Claim;
      if (await counted(server(n >> 2), claim, { tokens: 3n })) accepted.set(claim, (accepted.get(claim) ?? 0n) + 3n);
    });
    await Promise.all(reports);
    for (const [claim, amount] of accepted) expect(await some[0].used(own(claim))).toEqual({ tokens: amount });
    const of = (parity: number) =>
      sum(claims.flatMap((claim, n) => (n % 2 === parity ? [accepted.get(claim) ?? 0n] : [])));
    expect(await some[0].used()).toEqual({ tokens: of(0) });
    expect(await some[1].used()).toEqual({ tokens: of(1) });
    expect(await some[0].used(everything)).toEqual({ tokens: of(0) + of(1) });
    await Promise.all(claims.map((claim) => some[0].hand.complete(claim)));
  });

  it('go along with give-backs, resets and changes of the same budget', async () => {
    const some = spending();
    await some.put({ tokens: 1_000_000n });
    const claims = await Promise.all(Array.from({ length: 10 }, () => some.running()));
    let balance = 0n;
    await Promise.all(
      Array.from({ length: 400 }, async (_, n) => {
        const { executionId } = claims[n % 10] as Claim;
        if (n % 3 === 2) {
          const answer = await server(n).engine.releaseUsage({ executionId, usage: { tokens: 4n } });
          balance -= answer.released['tokens'] ?? 0n;
        } else if (await counted(server(n), claims[n % 10] as Claim, { tokens: 5n })) balance += 5n;
        if (n % 50 === 0) await some.put({ tokens: 1_000_000n + BigInt(n) });
      }),
    );
    expect(await some.used()).toEqual({ tokens: balance });
    await Promise.all([
      ...claims.map((claim, n) => counted(server(n), claim, { tokens: 5n })),
      ...claims.map(() => some.reset()),
    ]);
    await some.reset();
    for (const { executionId } of claims) await some.release(executionId, { tokens: 1_000_000n });
    expect(await some.used()).toEqual({ tokens: 0n });
    await Promise.all(claims.map((claim) => some.hand.complete(claim)));
  });
});

describe('a budget that is used up and comes back', () => {
  it('lets everything start in the end, however often that happens while work is on its way', async () => {
    const some = spending();
    const count = 400;
    await some.hand.create(...Array.from({ length: count }, (_, n) => ({ lane: some.lane, type: `kind ${n % 3}` })));
    const chance = new Chance(7);
    for (let n = 0; n < 30; n++) {
      const limit = n % 2 === 0 ? 0n : 1n;
      const attachments = chance.below(4) === 0 ? [ofNamespace] : [ofLane(some.lane)];
      const spec = { name: some.lane, limits: { tokens: { hardLimit: limit } }, attachments };
      await server(n).admin.putBudget({ budget: spec });
    }
    await some.put({ tokens: 1n }, { attachments: [] });
    const seen = new Set<string>();
    while (seen.size < count) {
      const claims = await some.hand.claim({ lanes: [{ lane: some.lane }], maxExecutions: 100, wait: seconds(20) });
      if (claims.length === 0) throw new Error(`${seen.size} of ${count} were let go`);
      for (const { executionId } of claims) seen.add(executionId);
    }
  });

  it('hands out nothing while it is used up, and claims race with its return', async () => {
    const some = spending();
    const [first, second] = [`${some.lane} one`, `${some.lane} two`];
    const ids = await some.hand.create(...Array.from({ length: 60 }, () => ({ lane: some.lane })));
    // Attached to each by itself, so that claims look at them one by one.
    const attachments = ids.map(ofExecution);
    for (const name of [first, second]) await some.put({ tokens: 0n }, { name, attachments });
    const claim = (n: number) =>
      server(n).engine.claimExecutions({
        worker: some.hand.worker,
        lanes: [{ lane: some.lane }],
        maxExecutions: 10,
        wait: seconds(0.2),
        leaseDuration: seconds(600),
      });
    const none = await Promise.all(Array.from({ length: 10 }, (_, n) => claim(n)));
    expect(none.flatMap(({ claims }) => claims)).toEqual([]);
    const [, , ...claimed] = await Promise.all([
      some.put({ tokens: 1n }, { name: first, attachments }),
      some.put({ tokens: 1n }, { name: second, attachments }),
      ...Array.from({ length: 10 }, (_, n) => claim(n)),
    ]);
    const seen = new Set(
      claimed.flatMap((answer) => ('claims' in answer ? answer.claims : [])).map((one) => one.executionId),
    );
    await eventually(async () => {
      for (const one of (await claim(0)).claims) seen.add(one.executionId);
      return seen.size === ids.length;
    });
  });
});

describe('what others have locked', () => {
  it('is waited for by a report, and passed over by batches until it is free', async () => {
    const some = spending();
    await some.put({ tokens: 10n });
    const [claim, waiting] = [await some.running(), await some.queued()];
    const { database } = recorded.tailrace;
    const held = await HeldRows.start(database);
    await held.hold('budget', 'name', some.lane);
    const report = some.report(claim, { tokens: 10n });
    await held.release();
    await report;
    await some.becomes(waiting, BLOCKED);
    const again = await HeldRows.start(database);
    await again.hold('blocked', 'execution', waiting);
    await some.reset();
    const other = await some.queued();
    expect((await some.next()).executionId).toBe(other);
    expect(await some.hand.state(waiting)).toBe(BLOCKED);
    await again.release();
    await some.becomes(waiting, QUEUED);
    await some.hand.complete(await some.next());
    await some.hand.complete(claim);
  });

  it('is given back by nobody who asked before it was reported', async () => {
    const some = spending();
    const other = `${some.lane} in money`;
    await some.put({ tokens: 100n });
    await some.put({ cents: 100n }, { name: other });
    const claim = await some.running();
    await some.report(claim, { tokens: 5n });
    const { database } = recorded.tailrace;
    const held = await HeldRows.start(database);
    await held.hold('budget', 'name', some.lane);
    const report = some.report(claim, { tokens: 1n, cents: 10n });
    await eventually(() => held.keepsWaiting('report_usages'));
    const back = some.release(claim.executionId, { tokens: 5n, cents: 10n });
    await eventually(() => held.keepsWaiting('release_usage'));
    await held.release();
    await report;
    const { released } = await back;
    expect(await some.used(other)).toEqual({ cents: 10n - (released['cents'] ?? 0n) });
    expect(await some.used()).toEqual({ tokens: 6n - (released['tokens'] ?? 0n) });
    await some.release(claim.executionId, { tokens: 10n, cents: 10n });
    expect([await some.used(), await some.used(other)]).toEqual([{ tokens: 0n }, { cents: 0n }]);
    await some.hand.complete(claim);
  });

  it('and is parked, goes on when it is free', async () => {
    const some = spending();
    await some.put({ tokens: 10n }, { breachPolicy: SUSPEND });
    const claim = await some.running();
    await refusal(some.report(claim, { tokens: 11n }));
    const held = await HeldRows.start(recorded.tailrace.database);
    await held.hold('suspension', 'execution', claim.executionId);
    await some.reset();
    await eventually(async () => (await some.hand.state(claim.executionId)) === ExecutionState.SUSPENDED);
    await held.release();
    await some.hand.complete(await some.next());
  });
});
