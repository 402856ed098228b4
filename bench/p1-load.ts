/** The load of P1, creation and work at the same time: as fast as it goes, or at a rate. */
import { offer } from './offered.js';
import type { Running, Tally } from './peers/contestant.js';

/** Executions per creating call, and how many such calls at once: what a busy client would do. */
const BATCH = 500;
const CREATORS = 3;
/** Without progress for so long something is wrong. */
const PATIENCE_MS = 60_000;
/** Runs first, so that nobody is measured while connections open and code warms up. */
const WARM_UP_SHARE = 0.1;
/** Of what is reached at most, for a load that is not to fall behind. */
export const STEADY_SHARE = 0.8;
/** Of a load at a rate, what may wait for its end: what would go beyond is left out, and shows in what was reached. */
const BEHIND_SECONDS = 5;

/** What creates: a contestant, or whatever else does. */
type Creating = Pick<Running, 'createMany'>;

/** Until so many more have ended. */
export async function drive(running: Creating, ended: Tally, count: number, batch: number = BATCH): Promise<void> {
  const target = ended.count + count;
  let left = count;
  const creator = async () => {
    while (left > 0) {
      const size = Math.min(batch, left);
      left -= size;
      await running.createMany(size);
    }
  };
  await Promise.all([ended.reach(target, PATIENCE_MS), ...Array.from({ length: CREATORS }, creator)]);
}

/** What comes before so many are measured. */
export async function warmUp(running: Creating, ended: Tally, count: number, batch?: number): Promise<void> {
  await drive(running, ended, Math.ceil(count * WARM_UP_SHARE), batch);
}

/** Executions per second at most. */
export async function ceilingOf(running: Creating, ended: Tally, count: number): Promise<number> {
  await warmUp(running, ended, count);
  const startedMs = performance.now();
  await drive(running, ended, count);
  return (count * 1_000) / (performance.now() - startedMs);
}

/** Answers how many it created; so many have ended, of these and of what others create meanwhile. */
export async function driveAtRate(
  running: Creating,
  ended: Tally,
  perSecond: number,
  seconds: number,
): Promise<number> {
  const first = ended.count;
  const creations: Promise<void>[] = [];
  await offer(perSecond / BATCH, seconds, () => {
    const under = creations.length * BATCH - (ended.count - first);
    if (under < perSecond * BEHIND_SECONDS) creations.push(running.createMany(BATCH));
  });
  await Promise.all(creations);
  await ended.reach(first + creations.length * BATCH, PATIENCE_MS);
  return creations.length * BATCH;
}
