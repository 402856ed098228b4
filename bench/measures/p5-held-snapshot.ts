/** P5: what P1's load and claims at a steady rate feel of a snapshot that is held open, so that dead rows stay. */
import { type Ground, holdSnapshot } from '../arena/arena.js';
import { deadRows } from '../arena/dead-rows.js';
import { CLAIM_STATEMENT, pagesPerCall } from '../arena/spent.js';
import { PacedClaims } from '../peers/paced-claims.js';
import { tailraceRaw } from '../peers/tailrace-raw.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS, DEAD_ROWS } from './columns.js';
import type { Context, Measure } from './measure.js';
import { throughputOf } from './throughput.js';

export const FULL_SPEED = 'full speed';
export const FULL_SPEED_HELD = 'full speed, a snapshot held';
export const BEFORE = 'at a steady rate, before the snapshot';
export const AT_ITS_END = 'at a steady rate, at the end of the snapshot';

async function run(context: Context): Promise<void> {
  const { arena, scale, record, progress } = context;
  // In turns, so that what else the machine does hits both alike.
  for (const held of [false, true, true, false]) {
    const name = held ? FULL_SPEED_HELD : FULL_SPEED;
    progress(name);
    record(name, await throughputOf(tailraceRaw, arena, scale.throughput.fast, { held }));
  }
  const ground = await arena.fresh();
  try {
    await steadily(ground, context);
  } finally {
    await ground.drop();
  }
}

async function steadily(ground: Ground, { arena, scale, record, progress }: Context): Promise<void> {
  const { latency, held } = scale.seconds;
  const server = await startTailraceServer(ground.url);
  const load = new PacedClaims(server.url, scale.heldOffered);
  const measure = async (name: string) => {
    progress(name);
    await arena.forgetStatements();
    const took = await load.run(latency);
    const pages = await pagesPerCall(arena, ground, CLAIM_STATEMENT);
    const dead = await deadRows(ground);
    const figures = { p50: quantile(took, 0.5), p99: quantile(took, 0.99), pages, [DEAD_ROWS.key]: dead };
    record(name, { offered: scale.heldOffered, ...figures });
  };
  try {
    // As long as what is held against it: code that is still warming up would flatter what comes later.
    await load.run(latency);
    await measure(BEFORE);
    const holder = await holdSnapshot(ground.url);
    progress(`a snapshot is held for ${held} s`);
    await load.run(held);
    await measure(AT_ITS_END);
    await holder.end();
  } finally {
    await load.close().finally(() => server.stop());
  }
}

export const p5: Measure = {
  id: 'P5',
  title: 'the same load while a snapshot is held open',
  about:
    'First the load of P1 by the generated clients, with and without a snapshot held from after the warm-up on, in turns, each on a ' +
    'database of its own. Then 1,000 executions per second (with --quick fewer), created and claimed by ten, completed at once: ' +
    'claims before the snapshot, and after it has been held for ten minutes of that load (with --quick seconds). Milliseconds are ' +
    'those of claim calls that do not wait; pages are those of Postgres that a claim touches.',
  columns: [
    { key: 'offered', title: 'offered per second' },
    { key: 'perSecond', title: 'per second' },
    { key: 'p50', title: 'claim p50 ms', digits: 1 },
    { key: 'p99', title: 'claim p99 ms', digits: 1 },
    { key: 'pages', title: 'pages per claim' },
    DEAD_ROWS,
    ...COST_COLUMNS,
  ],
  ratio: { column: 'perSecond', title: '× without' },
  everyProfile: true,
  once: true,
  run,
};
