/** DESK: what an operator waits for when many dead letters of a few causes lie there. */

import { TailraceLetters } from '../peers/tailrace-letters.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { LATENCY_COLUMNS } from './columns.js';
import type { Context, Measure } from './measure.js';

const TYPE = 'bench';
const CAUSES = 50;
const PAGE = 50;
const GROUPINGS = 5;

export const GROUPS = 'groups, the first page';
export const PAGES = 'list, every page';

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  const count = scale.letters.count;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, {});
  const client = new TailraceLetters(server.url);
  try {
    progress(`${count} dead letters`);
    await client.giveUp(TYPE, count, CAUSES);
    const timed = async (name: string, call: () => Promise<unknown>, times = GROUPINGS) => {
      progress(name);
      const ms: number[] = [];
      for (let i = 0; i < times; i++) ms.push(await msOf(call));
      tell(name, ms);
    };
    const tell = (name: string, ms: readonly number[]) =>
      record(name, { calls: ms.length, p50: quantile(ms, 0.5), p99: quantile(ms, 0.99), most: quantile(ms, 1) });
    await timed(GROUPS, async () => {
      const { groups } = await client.deadLetters.listDeadLetterGroups({});
      if (groups.length !== Math.min(CAUSES, count)) throw new Error(`${groups.length} groups instead of ${CAUSES}`);
    });
    await timed('groups of one tag', () =>
      client.deadLetters.listDeadLetterGroups({ filter: { tags: { tenant: 'tenant 3' } } }),
    );
    await timed('statistics', () => client.deadLetters.getDeadLetterStats({}));
    await timed('count for a badge', () => client.deadLetters.countDeadLetters({ filter: { lanes: [TYPE] } }));
    progress(PAGES);
    const ms: number[] = [];
    let pageToken = '';
    do {
      ms.push(
        await msOf(async () => {
          pageToken = (await client.deadLetters.listDeadLetters({ pageSize: PAGE, pageToken })).nextPageToken;
        }),
      );
    } while (pageToken !== '');
    tell(PAGES, ms);
  } finally {
    await client.close().finally(() => server.stop());
    await ground.drop();
  }
}

async function msOf(call: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await call();
  return performance.now() - began;
}

export const desk: Measure = {
  id: 'DESK',
  title: 'calls of the dead-letter desk, milliseconds',
  about: `100,000 open dead letters of ${CAUSES} causes (with --quick fewer), inputs of 1 KiB, as a client sees it: one call after the other.`,
  columns: [{ key: 'calls', title: 'calls' }, ...LATENCY_COLUMNS],
  everyProfile: false,
  run,
};
