/** In which order work is handed out: priority, then becoming claimable; lanes by weight; aging where it is set (E3). */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import { type ByHand, only, seconds } from '../support/by-hand.js';
import { countBy } from '../support/history/grouping.js';
import { Recorded } from '../support/history/recorded.js';

let recorded: Recorded;
let hand: ByHand;
beforeAll(async () => {
  recorded = await Recorded.start();
  hand = recorded.hand();
});
afterAll(() => recorded.stop());

const from = (...lanes: (string | [string, number])[]) => ({
  lanes: lanes.map((lane) => (typeof lane === 'string' ? { lane } : { lane: lane[0], weight: lane[1] })),
});

describe('E3: inside a lane', () => {
  it('higher priority comes first, negative ones last, equals in order of creation', async () => {
    const lane = 'priorities';
    const priorities = [0, -1_000, 5, 1_000, -7, 5, 0, 999, -1];
    const ids: string[] = [];
    for (const priority of priorities) ids.push(await hand.createOne({ lane, priority }));
    const expected = priorities
      .map((priority, i) => ({ priority, i }))
      .sort((a, b) => b.priority - a.priority || a.i - b.i)
      .map(({ i }) => ids[i]);
    const claimed: string[] = [];
    while (claimed.length < ids.length) {
      for (const claim of await hand.claim({ ...from(lane), maxExecutions: 2 })) {
        claimed.push(claim.executionId);
        expect(claim.priority).toBe(priorities[ids.indexOf(claim.executionId)]);
      }
    }
    expect(claimed).toEqual(expected);
  });

  it('one call creates in the order of its items, whatever their types', async () => {
    const lane = 'one call';
    const ids = await hand.create(...Array.from({ length: 20 }, (_, i) => ({ lane, type: `type ${i % 3}` })));
    const claims = await hand.claim({ ...from(lane), maxExecutions: 20 });
    expect(claims.map(({ executionId }) => executionId)).toEqual(ids);
  });

  it('what comes back stands behind what was there before it became claimable', async () => {
    const lane = 'coming back';
    const first = await hand.createOne({ lane });
    const claim = await hand.claimOne(from(lane));
    const second = await hand.createOne({ lane });
    await hand.release(claim);
    const third = await hand.createOne({ lane });
    expect((await hand.claim({ ...from(lane), maxExecutions: 3 })).map(({ executionId }) => executionId)).toEqual([
      second,
      first,
      third,
    ]);
  });

  it('delayed work takes its place when it becomes due, and overtakes by its priority', async () => {
    const lane = 'delayed';
    const urgent = await hand.createOne({ lane, priority: 1, delay: seconds(3_600) });
    const patient = await hand.createOne({ lane, delay: seconds(3_600) });
    const plain = await hand.createOne({ lane });
    const runTime = timestampFromMs(wallMs() + 300);
    for (const executionId of [urgent, patient]) await recorded.clients.admin.changeExecution({ executionId, runTime });
    await recorded.log.entry(({ executionId, toState }) => executionId === patient && toState === 3);
    await recorded.log.entry(({ executionId, toState }) => executionId === urgent && toState === 3);
    const claims = await hand.claim({ ...from(lane), maxExecutions: 3 });
    expect(claims.map(({ executionId }) => executionId)).toEqual([urgent, plain, patient]);
  });

  it('a retry keeps its priority', async () => {
    const lane = 'retried';
    const id = await hand.createOne({ lane, priority: 7 });
    await hand.fail(await hand.claimOne(from(lane)), FailureClass.TRANSIENT, { retryDelay: seconds(0) });
    await hand.create({ lane }, { lane, priority: 6 });
    expect(await hand.claimOne(from(lane))).toMatchObject({ executionId: id, priority: 7, attemptNumber: 2 });
  });
});

describe('E3: between lanes', () => {
  const lanesOf = (claims: readonly Claim[]) => Object.fromEntries(countBy(claims, ({ lane }) => lane));

  it('a claim takes from all of them by weight', async () => {
    for (const lane of ['heavy', 'light']) await hand.create(...Array.from({ length: 40 }, () => ({ lane })));
    const weighted = { ...from(['heavy', 3], ['light', 1]), maxExecutions: 8 };
    for (let i = 0; i < 3; i++) expect(lanesOf(await hand.claim(weighted))).toEqual({ heavy: 6, light: 2 });
  });

  it('weights do not starve a lane with higher priorities elsewhere, nor hold back what is alone', async () => {
    await hand.create(...Array.from({ length: 10 }, () => ({ lane: 'urgent', priority: 1_000 })));
    await hand.create(...Array.from({ length: 30 }, () => ({ lane: 'calm', priority: -1_000 })));
    const both = { ...from('urgent', 'calm'), maxExecutions: 10 };
    expect(lanesOf(await hand.claim(both))).toEqual({ urgent: 5, calm: 5 });
    expect(lanesOf(await hand.claim(both))).toEqual({ urgent: 5, calm: 5 });
    expect(lanesOf(await hand.claim(both))).toEqual({ calm: 10 });
  });

  it('an unmatched lane takes nothing from the others', async () => {
    const id = await hand.createOne({ lane: 'only one' });
    const claim = await hand.claimOne({ ...from(['no such lane', 1_000], 'only one'), maxExecutions: 5 });
    expect(claim.executionId).toBe(id);
  });

  it('a waiting claim is served by whichever lane has work first', async () => {
    const waiting = hand.claim(from('left', 'right'));
    const id = await hand.createOne({ lane: 'right' });
    expect(only(await waiting)).toMatchObject({ executionId: id, lane: 'right' });
  });
});

describe('E3: aging', () => {
  /** Offers something more urgent before every claim, until the first one gets its turn or patience ends. */
  async function turnsUntilServed(lane: string, most: number): Promise<number | undefined> {
    const first = await hand.createOne({ lane, type: 'low' });
    for (let turn = 1; turn <= most; turn++) {
      await hand.createOne({ lane, type: 'low', priority: 1 });
      if ((await hand.claimOne(from(lane))).executionId === first) return turn;
    }
    return undefined;
  }

  it('lets low priority have its turn, which it never gets otherwise', async () => {
    const age = (interval: number) =>
      recorded.clients.admin.updateLane({ lane: 'aging', settings: { agingInterval: seconds(interval) } });
    await age(3_600);
    expect(await turnsUntilServed('aging', 10)).toBeUndefined();
    await age(1);
    // Until it is old enough a fast machine takes thousands of turns.
    const turns = (await turnsUntilServed('aging', 20_000)) ?? 0;
    expect(turns).toBeGreaterThan(1);
    expect(await turnsUntilServed('not aging', turns)).toBeUndefined();
  });
});
