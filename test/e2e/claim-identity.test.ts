/** Workers that look alike: equal names, equal instances, yet no lease is shared. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { type LogEntry, LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { ByHand, leaseOf, refusal, seconds } from '../support/by-hand.js';
import { Recorded } from '../support/history/recorded.js';
import type { Clients } from '../support/tailrace.js';

let recorded: Recorded;
let other: Clients;
beforeAll(async () => {
  recorded = await Recorded.start();
  other = (await recorded.another()).clients;
});
afterAll(() => recorded.stop());

test.each([
  ['equal names', 'one', 'two'],
  ['equal names and equal instances', 'host:1', 'host:1'],
])('proof 11: two workers with %s never share a lease', async (lane, first, second) => {
  const workers = [recorded.hand('twin', first), recorded.hand('twin', second)];
  const created = await recorded.hand().create(...Array.from({ length: 200 }, () => ({ lane })));
  const claimed: string[] = [];
  const leases: string[] = [];
  const tokens: bigint[] = [];
  async function drain(worker: ByHand): Promise<void> {
    for (;;) {
      const claims = await worker.claim({ lanes: [{ lane }], maxExecutions: 7, wait: seconds(0) });
      if (claims.length === 0) return;
      for (const claim of claims) {
        claimed.push(claim.executionId);
        leases.push(claim.lease?.leaseId ?? '');
        tokens.push(claim.lease?.fencingToken ?? 0n);
      }
      await Promise.all(claims.map((claim) => worker.complete(claim)));
    }
  }
  await Promise.all([...workers, ...workers].map(drain));
  expect(claimed.sort()).toEqual(created.sort());
  expect(new Set(leases).size).toBe(created.length);
  expect(new Set(tokens).size).toBe(created.length);
});

test('proof 11: the same over two servers', async () => {
  const lane = 'two servers';
  const created = await recorded.hand().create(...Array.from({ length: 200 }, () => ({ lane })));
  const servers = [recorded.clients, other];
  const claimed: Claim[] = [];
  const asks = Array.from({ length: 40 }, async (_, i) => {
    const hand = new ByHand(servers[i % 2] as Clients, 'twin', 'host:1');
    const ask = { lanes: [{ lane }], maxExecutions: 10, wait: seconds(2), leaseDuration: seconds(600) };
    while (claimed.length < created.length) claimed.push(...(await hand.claim(ask)));
  });
  await Promise.all(asks);
  expect(claimed.map(({ executionId }) => executionId).sort()).toEqual(created.sort());
});

test('proof 11: a twin can do nothing with what the other holds', async () => {
  const [held, twin] = [recorded.hand('twin', 'host:1'), recorded.hand('twin', 'host:1')];
  const mine = await held.claimNamed(await held.createOne({ lane: 'held' }));
  const own = await twin.claimNamed(await twin.createOne({ lane: 'held' }));
  // Whatever it mixes up of what it knows, it lacks the lease.
  const forged = { ...mine, lease: { ...own.lease, executionId: mine.executionId } } as typeof mine;
  const calls = [
    () => twin.renew(forged),
    () => twin.progress(forged, 1),
    () => twin.complete(forged),
    () => twin.release(forged),
    () => twin.delay(forged, { delay: seconds(1) }),
    () => twin.cancel(mine.executionId, { lease: leaseOf(forged) }),
  ];
  for (const call of calls) expect(await refusal(call())).toMatchObject({ reason: 'LEASE_LOST' });
  await held.complete(mine);
  await twin.complete(own);
});

test('proof 11: a name that comes back after a restart finds no lease of its former life', async () => {
  const [before, after] = [recorded.hand('worker', 'pid 7'), recorded.hand('worker', 'pid 7')];
  const id = await before.createOne({ lane: 'restart' });
  const lost = await before.claimOne({ lanes: [{ lane: 'restart' }], leaseDuration: seconds(1) });
  const again = await after.claimOne({ lanes: [{ lane: 'restart' }], wait: seconds(10) });
  expect([again.executionId, again.attemptNumber]).toEqual([id, 2]);
  expect(again.lease?.leaseId).not.toBe(lost.lease?.leaseId);
  expect(await refusal(before.complete(lost))).toMatchObject({ reason: 'LEASE_LOST', metadata: { why: 'expired' } });
  await after.complete(again);
  const told = ({ executionId, kind }: LogEntry) => executionId === id && kind === LogEntryKind.ATTEMPT_STARTED;
  await recorded.log.entry(({ executionId, kind }) => executionId === id && kind === LogEntryKind.EXECUTION_SUCCEEDED);
  expect(recorded.log.entries.filter(told)).toHaveLength(2);
});
