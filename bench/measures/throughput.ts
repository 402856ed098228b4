/** One turn of P1's load by one contestant on a database of its own: what P1 and whoever varies it have in common. */
import { type Arena, type Ground, holdSnapshot } from '../arena/arena.js';
import { deadRows } from '../arena/dead-rows.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { drive, warmUp } from '../p1-load.js';
import { type Contestant, type Running, Tally, withContestant } from '../peers/contestant.js';
import { COST_COLUMNS, DEAD_ROWS } from './columns.js';
import type { Column, Context, Sample } from './measure.js';

/** What throughputOf() answers. */
export const THROUGHPUT_COLUMNS: readonly Column[] = [
  { key: 'perSecond', title: 'per second' },
  ...COST_COLUMNS,
  DEAD_ROWS,
];

export interface ThroughputOptions {
  /** Executions per creating call. Default as in P1. */
  readonly batch?: number;
  /** Whether a snapshot is held open from after the warm-up on. */
  readonly held?: boolean;
  /** Where a server process writes its CPU profile when it ends. */
  readonly profileInto?: string;
  /** What goes on beside it from before the warm-up on; answers how to end that. */
  readonly beside?: (running: Running) => Promise<() => Promise<void>>;
  /** Called while the contestant's database is still there. */
  readonly onMeasured?: (ground: Ground) => Promise<void>;
}

/** Each in its turn. */
export async function throughputs(contestants: readonly Contestant[], context: Context): Promise<void> {
  const { arena, scale, record, progress } = context;
  for (const contestant of contestants) {
    progress(contestant.name);
    record(contestant.name, await throughputOf(contestant, arena, scale.throughput[contestant.pace]));
  }
}

export async function throughputOf(
  contestant: Contestant,
  arena: Arena,
  count: number,
  { batch, held = false, beside, onMeasured, ...profiling }: ThroughputOptions = {},
): Promise<Sample> {
  const ended = new Tally();
  const options = { arena, ended, onStart: () => undefined, workers: true, ...profiling };
  let dead = Number.NaN;
  const turn = async (running: Running, ground: Ground): Promise<Sample> => {
    const { servers = [] } = running;
    const endBeside = await beside?.(running);
    try {
      await warmUp(running, ended, count, batch);
      // Dropping the database ends it.
      if (held) await holdSnapshot(ground.url);
      await arena.forgetStatements();
      const meter = await startMeter(arena, ground, ...servers.map(({ pid }) => pid));
      const started = performance.now();
      await drive(running, ended, count, batch);
      const seconds = (performance.now() - started) / 1_000;
      const cost = await meter.read();
      await onMeasured?.(ground);
      return { perSecond: count / seconds, ...perUnit(cost, count) };
    } finally {
      await endBeside?.();
    }
  };
  const sample = await withContestant(contestant, options, turn, async (ground) => {
    dead = await deadRows(ground);
  });
  return { ...sample, [DEAD_ROWS.key]: dead };
}
