/** P13: what it costs that workers differ in what they can do, and whether anything ever runs where it cannot. */
import type { Ground } from '../arena/arena.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { drive, warmUp } from '../p1-load.js';
import { type Running, Tally } from '../peers/contestant.js';
import { needing, SkilledWorkers } from '../peers/skilled-workers.js';
import { TailraceCalls } from '../peers/tailrace-calls.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure } from './measure.js';

const WORKERS = 100;
const SETS = 10;
const SCARCE = SETS - 1;

interface Variant {
  readonly name: string;
  /** Executions ask for these in turns. */
  readonly sets: number;
  /** Sets that a worker can run. */
  readonly able: (worker: number) => readonly number[];
}

export const ONE_SET: Variant = { name: 'one set, which everybody has', sets: 1, able: () => [0] };

/** The first worker alone has the scarce one, and is as wanted for another as anybody. */
export const TEN_SETS: Variant = {
  name: `${SETS} sets, one of them on one worker`,
  sets: SETS,
  able: (worker) => (worker === 0 ? [0, SCARCE] : [worker % SCARCE, (worker + 1) % SCARCE]),
};

async function run(context: Context): Promise<void> {
  // In turns, so that what else the machine does hits both alike.
  for (const variant of [ONE_SET, TEN_SETS, TEN_SETS, ONE_SET]) {
    context.progress(variant.name);
    const ground = await context.arena.fresh();
    await measure(variant, ground, context).finally(() => ground.drop());
  }
}

async function measure(
  { name, sets, able }: Variant,
  ground: Ground,
  { arena, scale, record }: Context,
  inspect?: Inspect,
): Promise<void> {
  const count = scale.throughput.fast;
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  const creator = new TailraceCalls(server.url);
  const workers = new SkilledWorkers(
    server.url,
    Array.from({ length: WORKERS }, (_, worker) => able(worker)),
  );
  const ended = new Tally();
  let created = 0;
  const running: Pick<Running, 'createMany'> = {
    createMany: async (size) => await creator.create(Array.from({ length: size }, () => needing(created++ % sets))),
  };
  try {
    await workers.watch(ended);
    await workers.unlessFailed(warmUp(running, ended, count));
    await arena.forgetStatements();
    const meter = await startMeter(arena, ground, server.pid);
    await workers.unlessFailed(drive(running, ended, count));
    const cost = await meter.read();
    const ran = [...workers.ran.values()].reduce((sum, one) => sum + one, 0);
    record(name, {
      perSecond: count / cost.seconds,
      misrouted: workers.misrouted,
      missing: created - ran,
      scarce: sets > SCARCE ? ((workers.ran.get(SCARCE) ?? 0) / ran) * 100 : Number.NaN,
      ...perUnit(cost, count),
    });
    await inspect?.onMeasured(name, ground, count);
  } finally {
    await Promise.all([creator.close(), workers.close()]).finally(() => server.stop());
  }
}

export const p13: Measure = {
  id: 'P13',
  title: 'capabilities, executions per second',
  about:
    `The load of P1 for ${WORKERS} workers, each a connection with one claiming loop: the library's hundred instances in one process would ` +
    `be most of what is measured. Executions ask for one of ${SETS} sets in turns, each of two capabilities; a worker has two of ` +
    'the sets, but the scarce one only the first worker has. Beside it the same with a single set. Misrouted are claims that came to ' +
    'a worker without what they ask for; missing are those that were created and did not run once.',
  columns: [
    { key: 'perSecond', title: 'per second' },
    { key: 'misrouted', title: 'misrouted' },
    { key: 'missing', title: 'missing' },
    { key: 'scarce', title: 'scarce %', digits: 1 },
    ...COST_COLUMNS,
  ],
  ratio: { column: 'perSecond', title: '× one set' },
  everyProfile: true,
  run,
  costs: async (context, inspect) => {
    const ground = await context.arena.fresh();
    await measure(TEN_SETS, ground, context, inspect).finally(() => ground.drop());
  },
};
