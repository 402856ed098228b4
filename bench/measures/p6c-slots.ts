/** P6C: what the end of one member costs, on its own, as the join that it fills a slot of grows. */
import { uuidV7 } from '../../src/runtime/random.js';
import type { Arena, Ground } from '../arena/arena.js';
import { startMeter } from '../arena/meter.js';
import { quiet, spentInStatements } from '../arena/spent.js';
import { makeFan } from '../peers/fans.js';
import { FlowClients } from '../peers/tailrace-flows.js';
import { startTailraceServer, type TailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { SINGLE_CALL_COLUMNS } from './columns.js';
import type { Context, Measure, Sample } from './measure.js';

/** Around the width from which a join is folded after the commit. */
const SIZES = [10, 64, 65] as const;
/** Left unfilled, so that no join is satisfied meanwhile. */
const LEFT = 2;
/** Until every connection of the server has planned what it sends. */
const WARM_UP_SLOTS = 100;
const MEMBER = 'member';
const SINK = 'sink';

async function run({ arena, scale, progress, record }: Context): Promise<void> {
  const { sizes, slots } = scale.joins;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url);
  try {
    await measure(arena, ground, server, { size: SIZES[0], slots: WARM_UP_SLOTS, joined: true });
    const all = [...new Set([...SIZES, ...sizes])].sort((a, b) => a - b);
    record('no join', await measure(arena, ground, server, { size: all[1] ?? 0, slots, joined: false }));
    for (const size of all) {
      const name = `a join of ${size.toLocaleString('en')}`;
      progress(name);
      record(name, await measure(arena, ground, server, { size, slots, joined: true }));
    }
  } finally {
    await server.stop();
    await ground.drop();
  }
}

interface Round {
  readonly size: number;
  readonly slots: number;
  readonly joined: boolean;
}

/** One completion after the other. What follows their commits counts too: it is waited for. */
async function measure(arena: Arena, ground: Ground, server: TailraceServer, round: Round): Promise<Sample> {
  const { size, slots, joined } = round;
  const clients = new FlowClients(server.url);
  // Of its own, so that nothing is left from the sizes before.
  const type = `${MEMBER}-${size}-${joined}`;
  try {
    const fromEach = Math.min(size - LEFT, slots);
    const types = { member: type, ...(joined && { sink: SINK }) };
    const claims = [];
    for (let left = slots; left > 0; left -= fromEach) {
      await makeFan(clients, { flowId: uuidV7(), size, types });
      const taken = await clients.take(type, Math.min(size, slots));
      claims.push(...taken.slice(0, Math.min(left, fromEach)));
    }
    await quiet(arena, ground);
    await arena.forgetStatements();
    const meter = await startMeter(arena, ground, server.pid);
    const took: number[] = [];
    for (const claim of claims) {
      const startedMs = performance.now();
      await clients.complete([claim]);
      took.push(performance.now() - startedMs);
    }
    await quiet(arena, ground);
    const { walBytes } = await meter.read();
    const { pages, ms } = await spentInStatements(arena, ground);
    return {
      p50: quantile(took, 0.5),
      p99: quantile(took, 0.99),
      statements: ms / slots,
      pages: pages / slots,
      wal: walBytes / slots,
    };
  } finally {
    await clients.close();
  }
}

export const p6c: Measure = {
  id: 'P6C',
  title: 'the end of one member, as its join grows',
  about:
    'One completion per call, one after the other. Statement time, pages and WAL are those of the whole engine until it is ' +
    'quiet again, so that what is folded after the commit, the log and its readers count too.',
  columns: SINGLE_CALL_COLUMNS,
  ratio: { column: 'pages', title: '× without a join' },
  everyProfile: false,
  run,
};
