/** P1: how many executions go from their creation to their seen end, per second. */
import type { Arena, Ground } from '../arena/arena.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { batchSql } from '../peers/batch-sql.js';
import { type Contestant, type Running, Tally, withContestant } from '../peers/contestant.js';
import { graphileBatched, graphileDefaults } from '../peers/graphile-worker.js';
import { bossBatched, bossOneByOne } from '../peers/pg-boss.js';
import { rowInserts } from '../peers/row-inserts.js';
import { tailraceLibrary, tailraceRaw } from '../peers/tailrace.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Measure, Sample } from './measure.js';

const CONTESTANTS: readonly Contestant[] = [
  tailraceRaw,
  tailraceLibrary,
  graphileDefaults,
  graphileBatched,
  bossOneByOne,
  bossBatched,
  batchSql,
  rowInserts,
];

/** Executions per creating call, and how many such calls at once: what a busy client would do. */
const BATCH = 500;
const CREATORS = 3;
const WARM_UP_SHARE = 0.1;
/** Without progress for so long something is wrong. */
const PATIENCE_MS = 60_000;

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  for (const contestant of CONTESTANTS) {
    progress(contestant.name);
    record(contestant.name, await throughputOf(contestant, arena, scale.throughput[contestant.pace]));
  }
}

export interface ThroughputOptions {
  /** Where a server process writes its CPU profile when it ends. */
  readonly profileInto?: string;
  /** Called while the contestant's database is still there. */
  readonly onMeasured?: (ground: Ground) => Promise<void>;
}

/** A share of it runs first, so that nobody is measured while connections open and code warms up. */
export async function throughputOf(
  contestant: Contestant,
  arena: Arena,
  count: number,
  { onMeasured, ...profiling }: ThroughputOptions = {},
): Promise<Sample> {
  const ended = new Tally();
  const options = { arena, ended, onStart: () => undefined, workers: true, ...profiling };
  return await withContestant(contestant, options, async (running, ground) => {
    await drive(running, ended, Math.ceil(count * WARM_UP_SHARE));
    await arena.forgetStatements();
    const meter = await startMeter(arena, ground, running.serverPid);
    const started = performance.now();
    await drive(running, ended, count);
    const seconds = (performance.now() - started) / 1_000;
    const cost = await meter.read();
    await onMeasured?.(ground);
    return { perSecond: count / seconds, ...perUnit(cost, count) };
  });
}

async function drive(running: Running, ended: Tally, count: number): Promise<void> {
  const target = ended.count + count;
  let left = count;
  const creator = async () => {
    while (left > 0) {
      const batch = Math.min(BATCH, left);
      left -= batch;
      await running.createMany(batch);
    }
  };
  await Promise.all([ended.reach(target, PATIENCE_MS), ...Array.from({ length: CREATORS }, creator)]);
}

export const p1: Measure = {
  id: 'P1',
  title: 'create → claim → complete → seen, executions per second',
  about:
    'Handlers that do nothing, 1 KiB of input, creation and work at the same time. Tailrace ends are counted where a ' +
    'completion stream delivers them; graphile-worker keeps no history; single-row inserts stop after creating.',
  columns: [{ key: 'perSecond', title: 'per second' }, ...COST_COLUMNS],
  ratio: { column: 'perSecond', to: graphileDefaults.name, title: '× graphile-worker' },
  everyProfile: true,
  run,
  costs: async ({ arena, scale, record }, { profileInto, onMeasured }) => {
    const count = scale.throughput[tailraceRaw.pace];
    const inspect = { profileInto, onMeasured: (ground: Ground) => onMeasured(tailraceRaw.name, ground, count) };
    record(tailraceRaw.name, await throughputOf(tailraceRaw, arena, count, inspect));
  },
};
