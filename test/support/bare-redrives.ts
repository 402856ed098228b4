/** A bulk redrive that asks for nothing but what it selects, and waits for its canary: nobody runs that. */
import { FailureClass } from '../../gen/tailrace/v1/attempt_pb.js';
import { ByHand } from './by-hand.js';
import { eventually } from './eventually.js';
import type { Clients } from './tailrace.js';

const lane = 'redriven in bulk';

/** Ids of bulk redrives. */
export async function makeBareRedrives(clients: Clients): Promise<string[]> {
  const hand = new ByHand(clients);
  for (const id of await hand.create({ lane }, { lane })) {
    await hand.fail(await hand.claimNamed(id), FailureClass.PERMANENT);
  }
  const { redrive } = await clients.deadLetters.startRedrive({ filter: { lanes: [lane] }, canaryCount: 1 });
  const redriveId = redrive?.redriveId ?? '';
  await eventually(async () => {
    return (await clients.deadLetters.getRedrive({ redriveId })).redrive?.startedCount === 1n;
  });
  return [redriveId];
}
