/** B2: quotas of lanes and of the namespace, as operators set and see them. */
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Quota } from '../../gen/tailrace/v1/budget_pb.js';
import { LogEntryKind } from '../../gen/tailrace/v1/log_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { ByHand, refusal, seconds } from '../support/by-hand.js';
import { eventually } from '../support/eventually.js';
import { Recorded } from '../support/history/recorded.js';

const long = { leaseDuration: seconds(60) };

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
});
afterAll(() => recorded.stop());

const put = async (request: object) => {
  const { quota } = await recorded.clients.admin.putQuota(request);
  if (quota === undefined) throw new Error('an answer without a quota');
  return quota;
};

async function listed(namespace: string, pageSize = 2): Promise<Quota[]> {
  const found: Quota[] = [];
  let pageToken = '';
  do {
    const page = await recorded.clients.admin.listQuotas({ namespace, pageSize, pageToken });
    found.push(...page.quotas);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return found;
}

describe('PutQuota', () => {
  it('for a lane is the same as the limits in its settings', async () => {
    const lane = 'same';
    const quota = await put({ lane, concurrencyLimit: 3, rateLimit: { limit: 5, window: seconds(10) } });
    const limits = { concurrencyLimit: 3, rateLimit: { limit: 5, window: { seconds: 10n } } };
    expect(quota).toMatchObject({ namespace: 'default', lane, ...limits, runningCount: 0n, startedCount: 0n });
    const { lane: made } = await recorded.clients.admin.getLane({ lane });
    expect(made?.settings).toMatchObject(limits);
    await recorded.clients.admin.updateLane({ lane, settings: { concurrencyLimit: 7, agingInterval: seconds(5) } });
    const found = (await listed('')).find((each) => each.lane === lane);
    expect(found).toMatchObject({ concurrencyLimit: 7 });
    expect(found).not.toHaveProperty('rateLimit');
    await put({ lane, rateLimit: { limit: 1 } });
    const after = (await recorded.clients.admin.getLane({ lane })).lane;
    expect(after?.settings).toMatchObject({
      concurrencyLimit: 0,
      rateLimit: { limit: 1, window: { seconds: 1n } },
      agingInterval: { seconds: 5n },
    });
    await put({ lane });
    expect((await listed('')).map((each) => each.lane)).not.toContain(lane);
  });

  it('is told once for a change, and not for what is the same', async () => {
    const namespace = 'told';
    for (let i = 0; i < 2; i++) {
      await put({ namespace, concurrencyLimit: 5 });
      await put({ namespace, lane: 'told', concurrencyLimit: 6 });
    }
    await put({ namespace, concurrencyLimit: 4 });
    const hand = new ByHand(recorded.clients, 'hand', 'hand', namespace);
    const marker = await hand.createOne();
    await recorded.log.entry(({ executionId }) => executionId === marker);
    const told = recorded.log.entries.filter((entry) => entry.namespace === namespace && entry.executionId === '');
    expect(told.map(({ kind }) => kind)).toEqual([
      LogEntryKind.ADMIN_QUOTA_UPDATED,
      LogEntryKind.LANE_UPDATED,
      LogEntryKind.ADMIN_QUOTA_UPDATED,
    ]);
    await hand.cancel(marker);
  });

  it('refuses what is no limit', async () => {
    const wrong = { concurrencyLimit: -1, rateLimit: { limit: 0, window: seconds(0.5) }, lane: 'l'.repeat(65) };
    const refused = await refusal(recorded.clients.admin.putQuota(wrong));
    expect(refused.reason).toBe('INVALID_FIELD');
    expect(refused.fieldViolations.map(({ field }) => field).sort()).toEqual([
      'concurrency_limit',
      'lane',
      'rate_limit.limit',
      'rate_limit.window',
    ]);
  });
});

describe('ListQuotas', () => {
  it('shows the namespace first, then its lanes by name, page by page, and nobody else', async () => {
    const namespace = 'listed';
    for (const lane of ['b', 'c', 'a', 'd']) await put({ namespace, lane, concurrencyLimit: 1 });
    await put({ namespace, lane: 'c' });
    await put({ namespace, rateLimit: { limit: 9, window: seconds(60) } });
    expect((await listed(namespace)).map(({ lane }) => lane)).toEqual(['', 'a', 'b', 'd']);
    expect((await listed(namespace, 50)).map(({ namespace: of }) => of)).toEqual(Array(4).fill(namespace));
    expect(await listed('never used')).toEqual([]);
    const { nextPageToken: pageToken } = await recorded.clients.admin.listQuotas({ namespace, pageSize: 1 });
    expect(await refusal(recorded.clients.admin.listQuotas({ namespace: '', pageToken }))).toMatchObject({
      reason: 'BAD_CURSOR',
    });
  });

  it('shows what runs and what has started, and when the next one may', async () => {
    const namespace = 'used';
    const hand = new ByHand(recorded.clients, 'hand', 'hand', namespace);
    await put({ namespace, lane: 'rated', concurrencyLimit: 4, rateLimit: { limit: 3, window: seconds(60) } });
    await put({ namespace, concurrencyLimit: 5 });
    await hand.create(...Array.from({ length: 4 }, () => ({ lane: 'rated' })), { lane: 'free' });
    const began = wallMs();
    const claims = await hand.claim({ lanes: [{ lane: 'rated' }, { lane: 'free' }], maxExecutions: 10, ...long });
    expect(claims.map(({ lane }) => lane).sort()).toEqual(['free', 'rated', 'rated', 'rated']);
    const [own, rated] = await listed(namespace);
    expect(own).toMatchObject({ lane: '', runningCount: 4n });
    expect(own).not.toHaveProperty('retryTime');
    expect(rated).toMatchObject({ lane: 'rated', runningCount: 3n, startedCount: 3n });
    const retry = rated?.retryTime && timestampDate(rated.retryTime).getTime();
    expect(retry).toBeGreaterThan(began + 30_000);
    expect(retry).toBeLessThan(wallMs() + 61_000);
    for (const claim of claims) await hand.complete(claim);
    expect(await listed(namespace)).toMatchObject([
      { lane: '', runningCount: 0n },
      { lane: 'rated', runningCount: 0n, startedCount: 3n },
    ]);
    // Raised, it lets the rest go at once.
    await put({ namespace, lane: 'rated', rateLimit: { limit: 4, window: seconds(60) } });
    await hand.complete(await hand.claimOne({ lanes: [{ lane: 'rated' }] }));
  });

  it('counts what ran before there was a quota', async () => {
    const namespace = 'before';
    const hand = new ByHand(recorded.clients, 'hand', 'hand', namespace);
    await hand.create({ lane: 'l' }, { lane: 'l' }, { lane: 'l' });
    const claims = await hand.claim({ lanes: [{ lane: 'l' }], maxExecutions: 2, ...long });
    expect(await put({ namespace, lane: 'l', concurrencyLimit: 2 })).toMatchObject({ runningCount: 2n });
    expect(await put({ namespace, rateLimit: { limit: 100 } })).toMatchObject({ runningCount: 2n, startedCount: 0n });
    expect(await hand.claim({ lanes: [{ lane: 'l' }], wait: seconds(0) })).toEqual([]);
    const waiting = hand.claimOne({ lanes: [{ lane: 'l' }] });
    const [first, second] = claims;
    if (first) await hand.complete(first);
    await hand.complete(await waiting);
    if (second) await hand.complete(second);
    await eventually(async () => (await listed(namespace)).every(({ runningCount }) => runningCount === 0n));
  });
});
