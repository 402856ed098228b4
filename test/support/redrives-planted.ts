/** A bulk redrive for the rules to hold over, and what breaks each rule that is about them. */
import type { Desk } from './desk.js';
import { RedrivesByHand } from './redrives-by-hand.js';

/** It has finished: one letter succeeded, one failed again, one still runs, one was passed over. */
export async function makeRedrives(desk: Desk): Promise<void> {
  const hand = new RedrivesByHand(desk);
  const lane = 'in bulk';
  await hand.givenUp(lane, 4);
  const redrive = await hand.start(lane, { canaryCount: 1, requestId: 'in bulk' });
  const [canary] = await hand.claim(lane, 1);
  const [last] = (await hand.letters(lane)).reverse();
  await desk.deadLetters.resolveDeadLetters({
    deadLetters: [{ deadLetterId: last?.deadLetterId ?? '' }],
    resolution: 2,
  });
  await hand.complete(canary ? [canary] : []);
  await hand.finished(redrive);
  await hand.fail(await hand.claim(lane, 1));
}

export const REDRIVE_PLANTS: Readonly<Record<string, readonly string[]>> = {
  'redrive-has-items': [
    'delete from tailrace.redrive_item where state = 2',
    'update tailrace.redrive set started = started + 1',
    "update tailrace.redrive_item set redrive = '01900000-0000-7000-8000-000000000000'",
  ],
  'redrive-item-runs': [
    'update tailrace.redrive_item set state = 3 where state = 1',
    'update tailrace.dead_letter set redrive = null where state = 2 and redrive is not null',
  ],
  'finished-redrive-took-all': [
    'update tailrace.redrive_item set state = 0 where state = 4',
    'update tailrace.redrive set settled = true where state = 4',
  ],
};
