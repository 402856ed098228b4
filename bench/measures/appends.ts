/** APPENDS: what it costs to append one frame, as the output that it is appended to grows. */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { FrameMode, type FrameSpecSchema } from '../../gen/tailrace/v1/frame_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { bytes } from '../../src/client/index.js';
import { startMeter } from '../arena/meter.js';
import { quiet, spentInStatements } from '../arena/spent.js';
import { frameOf } from '../peers/frame-writers.js';
import { leaseOf, TailraceCalls } from '../peers/tailrace-calls.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { SINGLE_CALL_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure, Sample } from './measure.js';

const TYPE = 'writer';
/** Frames per call where only their number matters. */
const FILL = 100;
/** Until every connection of the server has planned what it sends. */
const WARM_UP = 100;
/** Members of the summary, of which a patch sets one. */
const MEMBERS = 50;

type Frame = MessageInitShape<typeof FrameSpecSchema>;
type FrameMaker = (number: number) => Frame;

const durable: FrameMaker = (number) => ({ mode: FrameMode.DURABLE, payload: bytes(frameOf(0, number)) });
const passing: FrameMaker = (number) => ({ mode: FrameMode.BEST_EFFORT, payload: bytes(frameOf(0, number)) });
const patch: FrameMaker = (number) => ({
  mode: FrameMode.SUMMARY,
  payload: { contentType: 'application/json', body: { case: 'text', value: `{"${number % MEMBERS}":${number}}` } },
});

async function run(context: Context, inspect?: Inspect): Promise<void> {
  const { arena, scale, record, progress } = context;
  const { few, from, to } = scale.appends;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  const calls = new TailraceCalls(server.url);
  try {
    const [first, other, summary, warm] = await calls.hold({ type: TYPE }, 4);
    if (!first || !other || !summary || !warm) throw new Error('four were to be held');
    for (const frame of [durable, passing, patch]) await append(calls, warm, frame, WARM_UP);
    const rounds: readonly { name: string; claim: Claim; frame: FrameMaker; count: number; filled?: number }[] = [
      { name: `durable frames 1 to ${few}`, claim: first, frame: durable, count: few },
      { name: `durable frames ${range(from + 1, to)}`, claim: first, frame: durable, count: to - from, filled: from },
      { name: `${few} patches of a summary`, claim: summary, frame: patch, count: few },
      { name: `${few} best-effort frames`, claim: other, frame: passing, count: few },
    ];
    for (const { name, claim, frame, count, filled } of rounds) {
      progress(name);
      if (filled !== undefined) await fill(calls, claim, filled - few);
      await quiet(arena, ground);
      await arena.forgetStatements();
      const meter = await startMeter(arena, ground, server.pid);
      const took = await append(calls, claim, frame, count);
      await quiet(arena, ground);
      const { walBytes } = await meter.read();
      const { pages, ms } = await spentInStatements(arena, ground);
      record(name, figures(took, { ms, pages, walBytes }));
      await inspect?.onMeasured(name, ground, count);
    }
  } finally {
    await calls.close().finally(() => server.stop());
    await ground.drop();
  }
}

/** One per call, one after the other. Answers how long each call took. */
async function append({ engine }: TailraceCalls, claim: Claim, frame: FrameMaker, count: number): Promise<number[]> {
  const lease = leaseOf(claim);
  const took: number[] = [];
  for (let number = 1; number <= count; number++) {
    const startedMs = performance.now();
    await engine.appendFrames({ lease, frames: [frame(number)] });
    took.push(performance.now() - startedMs);
  }
  return took;
}

async function fill({ engine }: TailraceCalls, claim: Claim, count: number): Promise<void> {
  const lease = leaseOf(claim);
  for (let left = count; left > 0; left -= FILL) {
    const frames = Array.from({ length: Math.min(left, FILL) }, (_, i) => durable(i));
    await engine.appendFrames({ lease, frames });
  }
}

function figures(took: readonly number[], spent: { ms: number; pages: number; walBytes: number }): Sample {
  const { length } = took;
  return {
    p50: quantile(took, 0.5),
    p99: quantile(took, 0.99),
    statements: spent.ms / length,
    pages: spent.pages / length,
    wal: spent.walBytes / length,
  };
}

function range(from: number, to: number): string {
  return `${from.toLocaleString('en')} to ${to.toLocaleString('en')}`;
}

export const appends: Measure = {
  id: 'APPENDS',
  title: 'one frame, as the output grows',
  about:
    'One frame of 40 to 240 bytes per call, one call after the other, to one attempt, without readers. Statement time, ' +
    'pages and WAL are those of the whole engine until it is quiet again. Patches set one member of a summary of ' +
    `${MEMBERS}.`,
  columns: SINGLE_CALL_COLUMNS,
  ratio: { column: 'pages', title: '× the first' },
  everyProfile: false,
  run,
  costs: run,
};
