/** Consumers for the rules to hold over, and what breaks each rule that is about them. */
import { PoisonPolicy } from '../../gen/tailrace/v1/consumer_pb.js';
import { DeadLetterResolution } from '../../gen/tailrace/v1/dead_letter_pb.js';
import { seconds } from './by-hand.js';
import { ConsumersByHand, type Owner } from './consumers-by-hand.js';
import type { Desk } from './desk.js';

/** One that has halted, one that is rebuilt, and one that has parked two entries of a key, of which the second has its turn. */
export async function makeConsumers(desk: Desk): Promise<void> {
  const hand = new ConsumersByHand(desk);
  await hand.publish(...['kept', 'kept', 'kept'].map((stream) => ({ type: 'consumed', stream })));
  await desk.caughtUp();
  const filter = { eventTypes: ['consumed'] };
  await hand.consumer('halts', { filter, maxTries: 1 });
  await failFirst(await hand.owner('halts'));
  await hand.consumer('parks', { filter, maxTries: 1, poisonPolicy: PoisonPolicy.PARK, splitKey: 2 });
  const owner = await hand.owner('parks', { leaseDuration: seconds(600) });
  const { deadLetterId } = await failFirst(owner);
  await owner.commit(await owner.fetch());
  await desk.deadLetters.resolveDeadLetters({
    deadLetters: [{ deadLetterId }],
    resolution: DeadLetterResolution.IGNORED,
  });
  await desk.admin.rebuildConsumer({ consumer: 'parks', partCount: 2 });
}

async function failFirst(owner: Owner) {
  const [first] = (await owner.fetch()).deliveries;
  if (first === undefined) throw new Error('nothing was delivered');
  return await owner.fail(first);
}

export const CONSUMER_PLANTS: Readonly<Record<string, readonly string[]>> = {
  'consumer-has-generations': [
    'delete from tailrace.consumer_generation where generation = 2',
    'update tailrace.consumer set generation = 2, rebuilding = null where rebuilding is not null',
    'update tailrace.consumer set newest = 1 where rebuilding is not null',
    'delete from tailrace.consumer where rebuilding is null',
  ],
  'generation-has-parts': [
    'delete from tailrace.consumer_part where part = 1',
    'update tailrace.consumer_part set part = 2 where part = 1',
    'delete from tailrace.consumer_generation where generation = 2',
  ],
  'part-within-log': ['update tailrace.consumer_part set position = position + 1000000'],
  'halted-part-is-free': [
    'update tailrace.consumer set state = 1 where state = 3',
    'update tailrace.consumer_part set halted = false where halted',
    `update tailrace.consumer_part set owner = 'somebody', lease_ms = 1, expires_at = now() where halted`,
  ],
  'parked-has-part': [
    'update tailrace.dead_letter set generation = 77 where holds',
    'update tailrace.dead_letter set follower = false, position = position + 1000000 where follower',
  ],
  'released-is-due': ['delete from tailrace.consumer_release'],
};
