/** FRAMES: live output of many executions at once: from its emission in the handler to each of its readers. */
import { setTimeout as pause } from 'node:timers/promises';
import type { Arena, Ground } from '../arena/arena.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { commits } from '../arena/spent.js';
import { offer } from '../offered.js';
import { Tally } from '../peers/contestant.js';
import { FrameReader } from '../peers/frame-readers.js';
import { FrameWriters, frameOf } from '../peers/frame-writers.js';
import { TailraceCalls } from '../peers/tailrace-calls.js';
import { startTailraceServer, type TailraceServer } from '../peers/tailrace-server.js';
import type { Scale } from '../scale.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS, LATENCY_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure, Sample } from './measure.js';

const PER_STREAM = 20;
/** One in so many readers hangs up, over and over. */
const RESTLESS = 10;
const HANG_UP_MS = 1_000;
/** Readers are spread over so many connections. */
const CONNECTIONS = 8;
const TOLD_MS = 1_000;
const PATIENCE_MS = 60_000;

type Round = Scale['frames']['rounds'][number];

async function run(context: Context): Promise<void> {
  for (const round of context.scale.frames.rounds) await measure(round, context);
}

async function measure(round: Round, { arena, scale, record, progress }: Context, inspect?: Inspect): Promise<void> {
  const name = `${round.streams} streams, ${round.readers === 1 ? 'a reader' : `${round.readers} readers`} each`;
  progress(name);
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  try {
    await measureOnce({ round, arena, ground, server, seconds: scale.seconds.warmUp });
    await arena.forgetStatements();
    const { frames, sample } = await measureOnce({ round, arena, ground, server, seconds: scale.frames.seconds });
    record(name, sample);
    await inspect?.onMeasured(name, ground, frames);
  } finally {
    await server.stop();
    await ground.drop();
  }
}

interface Setting {
  readonly round: Round;
  readonly arena: Arena;
  readonly ground: Ground;
  readonly server: TailraceServer;
  readonly seconds: number;
}

async function measureOnce({ round, arena, ground, server, seconds }: Setting) {
  const writers = await FrameWriters.start(server.url, round.streams);
  const connections = Array.from({ length: CONNECTIONS }, () => new TailraceCalls(server.url));
  const took: number[] = [];
  const seen = new Tally();
  const readers = writers.streams.flatMap(({ executionId, dueMs }, stream) => {
    const contentOf = (number: number) => frameOf(stream, number);
    const onFrame = (number: number) => {
      took.push(performance.now() - (dueMs[number - 1] ?? Number.NaN));
      seen.add(1);
    };
    const mine = Array.from({ length: round.readers }, (_, i) => connections[(stream + i) % CONNECTIONS]);
    return mine.flatMap((calls) => (calls ? [new FrameReader({ calls, executionId, contentOf, onFrame })] : []));
  });
  const ended = new AbortController();
  try {
    const following = Promise.all(readers.map((reader) => reader.follow()));
    await Promise.race([Promise.all(readers.map(({ placed }) => placed)), following]);
    const restless = hangUp(
      readers.filter((_, i) => i % RESTLESS === 0),
      ended.signal,
    );
    const frames = round.streams * PER_STREAM * seconds;
    const before = await commits(arena, ground);
    const meter = await startMeter(arena, ground, server.pid);
    await offer(round.streams * PER_STREAM, seconds, (ordinal, dueMs) => writers.emit(ordinal, dueMs));
    await Promise.race([seen.reach(frames * round.readers, PATIENCE_MS), following]);
    const cost = await meter.read();
    // Sessions tell their commits once a second.
    await pause(TOLD_MS);
    const committed = (await commits(arena, ground)) - before;
    ended.abort();
    writers.end();
    await following;
    const sample: Sample = {
      offered: round.streams * PER_STREAM,
      reached: frames / cost.seconds,
      p50: quantile(took, 0.5),
      p99: quantile(took, 0.99),
      most: quantile(took, 1),
      commits: committed / cost.seconds,
      hungUp: await restless,
      cut: readers.reduce((sum, reader) => sum + reader.cut, 0),
      serverShare: cost.serverCpuMs / cost.seconds / 10,
      ...perUnit(cost, frames),
    };
    if (took.length !== frames * round.readers) throw new Error(`${took.length} frames were read`);
    return { frames, sample };
  } finally {
    ended.abort();
    await Promise.allSettled([...connections.map((calls) => calls.close()), writers.stop()]);
  }
}

/** Answers how often. */
async function hangUp(readers: readonly FrameReader[], ended: AbortSignal): Promise<number> {
  let count = 0;
  while (!ended.aborted) {
    for (const reader of readers) {
      await pause(HANG_UP_MS / readers.length, undefined, { signal: ended }).catch(() => undefined);
      if (ended.aborted) break;
      reader.hangUp();
      count++;
    }
  }
  return count;
}

export const frames: Measure = {
  id: 'FRAMES',
  title: 'live output, milliseconds from its emission to a reader',
  about:
    `Handlers of the worker library, each emitting ${PER_STREAM} frames of 40 to 240 bytes per second, and readers on ` +
    `${CONNECTIONS} connections that check every frame to the byte. One in ${RESTLESS} readers hangs up every ` +
    `${HANG_UP_MS / 1_000} s and comes again with its cursor. Counted from the moment a frame was due, the library's ` +
    'gathering included, to each reader. Costs are per frame; commits are those of its database.',
  columns: [
    { key: 'offered', title: 'frames offered per second' },
    { key: 'reached', title: 'reached per second' },
    ...LATENCY_COLUMNS,
    { key: 'commits', title: 'commits per second' },
    { key: 'hungUp', title: 'hung up' },
    { key: 'cut', title: 'cut off' },
    { key: 'serverShare', title: 'server CPU %' },
    ...COST_COLUMNS,
  ],
  everyProfile: false,
  run,
  costs: async (context, inspect) => {
    const [round] = context.scale.frames.rounds;
    if (round) await measure(round, context, inspect);
  },
};
