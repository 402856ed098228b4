/** A part that is given back in the moment somebody else begins to wait for one. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { seconds } from '../../support/by-hand.js';
import { ConsumersByHand, Member } from '../../support/consumers-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { HeldCommits } from '../../support/held-commits.js';
import { HeldRows } from '../../support/held-rows.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let other: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
  other = await startTailrace({ database: tailrace.database });
});
afterAll(async () => {
  await other.stop();
  await tailrace.stop();
});

it('goes to the one that waits, though its wait was not committed yet when the part was still held', async () => {
  const consumer = 'handed over';
  const hand = new ConsumersByHand(tailrace);
  await hand.consumer(consumer);
  const owner = await hand.owner(consumer, { leaseDuration: seconds(300) });

  const commits = await HeldCommits.of('consumer_member', tailrace.database);
  const waiting = new Member(other, consumer).acquire({ wait: seconds(30) });
  // It has seen that the part is not free.
  await eventually(() => commits.keepWaiting());
  const rows = await HeldRows.start(tailrace.database);
  let isReleased = false;
  const releasing = owner.member.release().then(() => (isReleased = true));
  await eventually(async () => isReleased || (await rows.keepsWaiting('release_parts')));
  await rows.release();
  const begunMs = performance.now();
  await commits.letGo();
  expect(await waiting).toHaveLength(1);
  await releasing;
  // Not at its last look, when it gives up.
  expect(performance.now() - begunMs).toBeLessThan(15_000);
});
