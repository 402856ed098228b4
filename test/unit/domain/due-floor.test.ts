/** From where queues in the order of time are read: nothing that is left is passed over, and what is done with is not read again. */
import { expect, test } from 'vitest';
import { DueFloor } from '../../../src/domain/due-floor.js';
import { TimeShare } from '../../../src/domain/time-share.js';

const MARGIN_MS = 2_000;

function lookOnce(floor: DueFloor, begunMs: number, endedMs: number, nextMs?: number): number | undefined {
  const look = floor.begin(begunMs);
  floor.left(look, nextMs);
  floor.ended(look, endedMs);
  return look.behindMs;
}

/** How far back the next look goes that is not at everything. */
const behind = (floor: DueFloor, nowMs: number) => floor.beginWith(nowMs, false).behindMs;

/** After a look of a second at everything, from 1,000 to 2,000, that left what is due so long after it began. */
function looked(nextMs?: number): DueFloor {
  const floor = new DueFloor();
  expect(lookOnce(floor, 1_000, 2_000, nextMs)).toBeUndefined();
  return floor;
}

test('everything is read first, and for a twentieth of the time from then on', () => {
  const floor = looked();
  expect(lookOnce(floor, 2_500, 9_000)).toBe(2_500 - 1_000 + MARGIN_MS);
  expect(lookOnce(floor, 21_999, 21_999)).toBe(21_999 - 2_500 + MARGIN_MS);
  expect(lookOnce(floor, 22_000, 22_000)).toBeUndefined();
});

test('a look that fails tells nothing, and counts for its share', () => {
  const floor = looked(-5_000);
  const look = floor.begin(22_000);
  expect(look.behindMs).toBeUndefined();
  floor.ended(look, 23_000);
  expect(lookOnce(floor, 42_999, 42_999)).toBe(42_999 + 4_000 + MARGIN_MS);
  expect(lookOnce(floor, 43_000, 43_000)).toBeUndefined();
});

test('what is left and overdue is looked for again, however long it is', () => {
  expect(behind(looked(-60_000), 3_000)).toBe(3_000 - (1_000 - 60_000) + MARGIN_MS);
});

test('what is left and not due yet does not raise the floor: something else may come before it', () => {
  expect(behind(looked(3_000), 3_000)).toBe(3_000 - 1_000 + MARGIN_MS);
});

test('who tells of something earlier lowers the floor, also while a look is under way that did not see it', () => {
  const floor = looked();
  floor.lower(-50_000);
  const look = floor.begin(3_000);
  expect(look.behindMs).toBe(3_000 + 50_000 + MARGIN_MS);
  floor.lower(-70_000);
  floor.left(look, undefined);
  floor.ended(look, 3_001);
  expect(lookOnce(floor, 4_000, 4_000)).toBe(4_000 + 70_000 + MARGIN_MS);
  expect(behind(floor, 5_000)).toBe(5_000 - 4_000 + MARGIN_MS);
});

test('of two looks at once, what one found is not passed over because the other did not go so far back', () => {
  const floor = looked();
  const near = floor.begin(3_000);
  const whole = floor.beginWith(3_000, true);
  floor.left(whole, -90_000);
  floor.ended(whole, 3_500);
  floor.left(near, undefined);
  floor.ended(near, 3_600);
  expect(behind(floor, 4_000)).toBe(4_000 - (3_000 - 90_000) + MARGIN_MS);
});

test('looks of others raise the floor of what is never due here', () => {
  const floor = new DueFloor();
  for (const nowMs of [1_000, 2_000, 3_000]) {
    const look = floor.beginWith(nowMs, nowMs === 1_000);
    floor.left(look, undefined);
    floor.ended(look, nowMs + 10);
  }
  expect(behind(floor, 4_000)).toBe(4_000 - 3_000 + MARGIN_MS);
});

test('a share of the time: it waits as many times as long as it took', () => {
  const share = new TimeShare(50);
  expect(share.isDue(0)).toBe(true);
  share.took(100, 2);
  expect(share.isDue(199)).toBe(false);
  expect(share.isDue(200)).toBe(true);
});

test('a share of the time: what took long for once does not count', () => {
  const share = new TimeShare(20);
  share.took(0, 1);
  share.took(5_000, 4_000);
  expect(share.isDue(5_019)).toBe(false);
  expect(share.isDue(5_020)).toBe(true);
  share.took(10_000, 3_000);
  expect(share.isDue(69_999)).toBe(false);
  expect(share.isDue(70_000)).toBe(true);
});
