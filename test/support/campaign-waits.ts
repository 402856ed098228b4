/** What the campaign does about waits, limits, budgets and output. */
import { FrameMode } from '../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { CountDistinct, SuspensionTimeoutBehavior } from '../../gen/tailrace/v1/signal_pb.js';
import { pause } from '../../src/runtime/clock.js';
import { seconds, text } from './by-hand.js';
import type { Chance } from './chance.js';
import type { Recorded } from './history/recorded.js';
import { named, timeoutOnly, WaitsByHand } from './waits-by-hand.js';

const { DURABLE, SUMMARY, BEST_EFFORT } = FrameMode;
const KEYS = ['a', 'b', 'c'];
const NAMES = ['go', 'yes', 'no'];
/** Attempts whose output is followed. */
const MOST_TAILS = 30;

/** Before anything is made, so that the checker can hold every execution to it. */
export async function setLimits({ clients }: Recorded): Promise<void> {
  const hand = new WaitsByHand(clients, 'operator');
  await hand.putQuota('', 14);
  await hand.setLane('red', { concurrencyLimit: 5 });
  await hand.setLane('green', { defaultKeyLimit: 2, keyLimits: [{ key: 'a', limit: 1 }] });
  await hand.setLane('blue', { rateLimit: { limit: 60, window: seconds(1) } });
  const lane = (value: string) => ({ subject: { case: 'lane' as const, value } });
  const coins = (hardLimit: bigint) => ({ coins: { hardLimit } });
  await hand.putBudget({ name: 'deep', limits: coins(1_000_000n), attachments: [lane('red'), lane('blue')] });
  await hand.putBudget({
    name: 'shallow',
    limits: coins(5n),
    attachments: [lane('blue')],
    resetWindow: seconds(1),
  });
}

export function keyOf(dice: Chance): string {
  return dice.percent(40) ? (dice.pick(KEYS) ?? '') : '';
}

/** Says something under the lease, and goes on with it. */
export async function use(hand: WaitsByHand, claim: Claim, dice: Chance): Promise<void> {
  const key = dice.percent(70) ? `report ${dice.below(3)}` : '';
  const amount = BigInt(1 + dice.below(3));
  await hand.report(claim, { coins: amount, words: 1n }, key);
  if (dice.percent(30)) await hand.report(claim, { coins: amount, words: 1n }, key);
  if (dice.percent(20)) await hand.giveBack(claim.executionId, { coins: 1n }, { idempotencyKey: 'back' });
}

export async function write(recorded: Recorded, hand: WaitsByHand, claim: Claim, dice: Chance): Promise<void> {
  const { executionId, attemptNumber } = claim;
  const tails: { cut(): void }[] = [];
  if (dice.percent(20) && followed.size < MOST_TAILS && !followed.has(executionId)) {
    followed.add(executionId);
    for (const i of [1, 2]) tails.push(recorded.tail({ name: `tail ${i}`, executionId, attemptNumber }));
  }
  let count = 0;
  for (let calls = 1 + dice.below(4); calls > 0; calls--) {
    const frames = Array.from({ length: 1 + dice.below(5) }, (_, i) => {
      const mode = dice.pick([DURABLE, DURABLE, SUMMARY, BEST_EFFORT]) ?? DURABLE;
      const value = mode === SUMMARY ? { [dice.pick(KEYS) ?? '']: { [dice.pick(KEYS) ?? '']: i } } : undefined;
      return { mode, type: 'word', payload: text(value ? JSON.stringify(value) : `word ${dice.below(1_000)}`) };
    });
    const expected = claim.resume === undefined && dice.percent(50) ? { expectedCount: BigInt(count) } : {};
    const asked = { frames, ...expected };
    count = Number((await hand.append(claim, asked)).count);
    // With the count it expected a repeat changes nothing.
    if ('expectedCount' in asked && dice.percent(30)) await hand.append(claim, asked);
    if (dice.percent(30)) tails[dice.below(2)]?.cut();
  }
}

const followed = new Set<string>();

/** Waits for something that may come, and for no longer than a moment. */
export async function wait(hand: WaitsByHand, claim: Claim, dice: Chance): Promise<void> {
  const { FAIL, CANCEL, EXPIRE, RESUME, ESCALATE } = SuspensionTimeoutBehavior;
  const key = `door ${dice.below(2)}`;
  const condition = dice.weighted([
    [4, named(dice.pick(NAMES) ?? '')],
    [2, named('', key)],
    [2, { condition: { case: 'count' as const, value: { count: 2, distinct: CountDistinct.SOURCES } } }],
    [1, timeoutOnly],
  ]);
  await hand.suspend(claim, {
    ...(condition && { condition }),
    waitpoints: [{ key }],
    timeout: seconds(0.2 + dice.below(10) / 10),
    timeoutBehavior: dice.pick([FAIL, CANCEL, EXPIRE, RESUME, RESUME, ESCALATE]) ?? RESUME,
    ...(dice.percent(20) && { resumeDelay: seconds(0.05) }),
    ...(dice.percent(50) && { idempotencyKey: `wait ${dice.below(2)}` }),
  });
}

/** Signals somebody, who may not wait. */
export async function signalSomebody(hand: WaitsByHand, dice: Chance, known: readonly string[]): Promise<void> {
  const id = dice.pick(known.slice(-60));
  if (id === undefined) return await pause(10);
  await hand.signal(id, dice.pick(NAMES) ?? '', {
    sourceId: `somebody ${dice.below(3)}`,
    ...(dice.percent(30) && { waitpointKey: `door ${dice.below(2)}` }),
    ...(dice.percent(30) && { idempotencyKey: `once ${dice.below(4)}` }),
  });
}

/** In the end nobody is left waiting. */
export async function letAllGoOn({ clients }: Recorded): Promise<void> {
  const { suspensions } = await clients.admin.listSuspendedExecutions({ pageSize: 1_000 });
  await Promise.allSettled(suspensions.map(({ executionId }) => clients.admin.resumeExecution({ executionId })));
}
