/** REDRIVE: how well a bulk redrive keeps its rate, and what live work in the same lane feels of it. */
import { setTimeout as pause } from 'node:timers/promises';

import { inputOf, NO_ORDINAL, ordinalOf } from '../content.js';
import { offer } from '../offered.js';
import { Tally } from '../peers/contestant.js';
import { TailraceLetters } from '../peers/tailrace-letters.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { LATENCY_COLUMNS } from './columns.js';
import type { Context, Measure } from './measure.js';

const TYPE = 'bench';
const LIVE_PER_SECOND = 200;
const REDRIVEN_PER_SECOND = 100;
const LOOPS = 4;
const MOST_AT_ONCE = 100;
const PATIENCE_MS = 20_000;
/** Of a redrive at its steady rate: without its beginning. */
const SETTLE_SECONDS = 2;

export const ALONE = 'live work alone';
export const BESIDE_REDRIVE = 'live work beside a redrive';

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  const { seconds, rounds } = scale.redrive;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, {});
  const client = new TailraceLetters(server.url);
  const worker = new TailraceLetters(server.url);
  try {
    progress('dead letters');
    await client.giveUp(TYPE, Math.ceil(rounds * (seconds + 2 * SETTLE_SECONDS) * REDRIVEN_PER_SECOND), 1);
    const due = new Map<number, number>();
    let took: number[] = [];
    let next = NO_ORDINAL + 1_000_000;
    const started = new Tally();
    worker.claim({ type: TYPE, lane: TYPE, size: MOST_AT_ONCE }, LOOPS, async (claims) => {
      const nowMs = performance.now();
      for (const { input } of claims) {
        const dueMs = due.get(ordinalOf(input?.body.case === 'text' ? input.body.value : ''));
        if (dueMs === undefined) continue;
        took.push(nowMs - dueMs);
        started.add(1);
      }
      await worker.complete(claims);
    });
    const live = async (): Promise<number[]> => {
      took = [];
      const calls: Promise<void>[] = [];
      await offer(LIVE_PER_SECOND, seconds, (_, dueMs) => {
        const ordinal = next++;
        due.set(ordinal, dueMs);
        calls.push(
          client.create([{ type: TYPE, lane: TYPE, input: { body: { case: 'text', value: inputOf(ordinal) } } }]),
        );
      });
      await Promise.all(calls);
      await worker.loops.unlessFailed(started.reach(due.size, PATIENCE_MS));
      return took;
    };
    const tell = (name: string, ms: readonly number[], more: Readonly<Record<string, number>> = {}) =>
      record(name, { ...more, p50: quantile(ms, 0.5), p99: quantile(ms, 0.99), most: quantile(ms, 1) });
    // In turns, so that what else the machine does hits both alike.
    const alone: number[] = [];
    const beside: number[] = [];
    let redriven = 0;
    let lasted = 0;
    for (let round = 0; round < rounds; round++) {
      progress(ALONE);
      alone.push(...(await live()));
      progress(BESIDE_REDRIVE);
      const { redrive } = await client.deadLetters.startRedrive({
        filter: { lanes: [TYPE] },
        ratePerSecond: REDRIVEN_PER_SECOND,
        canaryCount: 0,
      });
      const redriveId = redrive?.redriveId ?? '';
      const startedCount = async () =>
        Number((await client.deadLetters.getRedrive({ redriveId })).redrive?.startedCount);
      await pause(SETTLE_SECONDS * 1_000);
      const [from, fromMs] = [await startedCount(), performance.now()];
      beside.push(...(await live()));
      redriven += (await startedCount()) - from;
      lasted += (performance.now() - fromMs) / 1_000;
      await client.deadLetters.stopRedrive({ redriveId });
    }
    tell(ALONE, alone);
    tell(BESIDE_REDRIVE, beside, { asked: REDRIVEN_PER_SECOND, reached: redriven / lasted });
  } finally {
    await client.close();
    await worker.close().finally(() => server.stop());
    await ground.drop();
  }
}

export const redrive: Measure = {
  id: 'REDRIVE',
  title: 'a bulk redrive, and live work in the same lane, milliseconds',
  about:
    `${LIVE_PER_SECOND} executions of 1 KiB per second, from when each was due to the start of its handler, in turns alone and ` +
    `beside a redrive of ${REDRIVEN_PER_SECOND} per second into the same lane, worked off by the same worker.`,
  columns: [
    { key: 'asked', title: 'redrives per second asked' },
    { key: 'reached', title: 'reached', digits: 1 },
    ...LATENCY_COLUMNS,
  ],
  everyProfile: false,
  run,
};
