/** Waits, limits, budgets and output that ask for nothing and are told nothing: whatever of them may be absent is. */
import { only, seconds } from './by-hand.js';
import type { Clients } from './tailrace.js';
import { operatorOnly, WaitsByHand } from './waits-by-hand.js';

/** Adds its executions to those that were made; answers the names of the budgets. */
export async function makeBareWaits(clients: Clients, made: string[]): Promise<string[]> {
  const hand = new WaitsByHand(clients);
  const run = async (spec = {}) => {
    const id = await hand.createOne({ lane: 'bare', ...spec });
    made.push(id);
    return await hand.claimNamed(id, { leaseDuration: seconds(3_600) });
  };
  const parked = await run();
  await hand.waitpoint(parked, 'door');
  await hand.signal(parked.executionId, 'early');
  await hand.suspend(parked, { condition: operatorOnly });
  const writer = await run();
  await hand.append(writer, { frames: [{}] });
  await hand.report(writer, { words: 1n });
  const passing = await run();
  await hand.append(passing, { frames: [{ mode: 3 }] });

  await hand.setLane('bare keys', { defaultKeyLimit: 1 });
  const keyed = { lane: 'bare keys', concurrencyKey: 'key' };
  made.push(...(await hand.create(keyed, keyed)));
  await clients.admin.putQuota({ lane: 'bare', concurrencyLimit: 100 });
  await clients.admin.putQuota({ lane: 'bare keys', rateLimit: { limit: 100 } });
  const budget = await hand.putBudget({ name: 'bare', limits: { coins: {} } });
  return [only([budget]).spec?.name ?? ''];
}
