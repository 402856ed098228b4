/**
 * pg-boss on its public API: fetching and completing one by one, and in batches of 500. Both create in batches, and both
 * fetch again at once, since its own workers sleep half a second between two fetches.
 */
import { setTimeout as pause } from 'node:timers/promises';
import PgBoss from 'pg-boss';
import { inputOf, NO_ORDINAL, ordinalOf } from '../content.js';
import type { Contestant, Running, StartOptions } from './contestant.js';

const QUEUE = 'bench';
const CONNECTIONS = 10;
const EMPTY_PAUSE_MS = 5;

interface Load {
  readonly loops: number;
  readonly batch: number;
}

async function start({ loops, batch }: Load, { ground, onStart, ended, workers }: StartOptions): Promise<Running> {
  const boss = new PgBoss({ connectionString: ground.url, max: CONNECTIONS, schedule: false });
  let stopping = false;
  // Its maintenance may meet the end of its database.
  boss.on('error', (error) => {
    if (!stopping) throw error;
  });
  await boss.start();
  await boss.createQueue(QUEUE);
  const loop = async () => {
    while (!stopping) {
      const fetched = await boss.fetch<{ input: string }>(QUEUE, { batchSize: batch });
      if (fetched.length === 0) {
        await pause(EMPTY_PAUSE_MS);
        continue;
      }
      for (const { data } of fetched) onStart(ordinalOf(data.input));
      await boss.complete(
        QUEUE,
        fetched.map(({ id }) => id),
      );
      ended.add(fetched.length);
    }
  };
  const running = Array.from({ length: workers ? loops : 0 }, loop);
  const data = { input: inputOf(NO_ORDINAL) };
  return {
    createMany: (count) => boss.insert(Array.from({ length: count }, () => ({ name: QUEUE, data }))),
    createOne: async (ordinal) => {
      await boss.send(QUEUE, { input: inputOf(ordinal) });
    },
    stop: async () => {
      stopping = true;
      await Promise.all(running);
      await boss.stop({ graceful: false, wait: true });
    },
  };
}

export const bossOneByOne: Contestant = {
  name: 'pg-boss, one by one',
  pace: 'slow',
  start: (options) => start({ loops: CONNECTIONS, batch: 1 }, options),
};

export const bossBatched: Contestant = {
  name: 'pg-boss, batches of 500',
  pace: 'fast',
  start: (options) => start({ loops: 2, batch: 500 }, options),
};
