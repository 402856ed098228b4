/** P8: from the suspension of an execution over the signal to its end, alone, at a steady rate, and many at once. */
import { perUnit, startMeter } from '../arena/meter.js';
import { offer } from '../offered.js';
import { waitLibrary } from '../peers/library-waits.js';
import { signaledById, signaledByToken } from '../peers/tailrace-waits.js';
import { waitSql } from '../peers/wait-sql.js';
import type { WaitContestant, Waits, WaitTimes } from '../peers/waits.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure, Sample } from './measure.js';

const CONTESTANTS: readonly WaitContestant[] = [signaledById, signaledByToken, waitLibrary, waitSql];

const AT_ONCE = 16;
const PER_SECOND = 100;
/** Until every connection of the server has planned what it sends. */
const WARM_UP = 100;

/** Runs so many cycles, and answers what they took. */
type Load = (waits: Waits, cycles: number) => Promise<WaitTimes[]>;

async function run(context: Context): Promise<void> {
  for (const contestant of CONTESTANTS) await measure(contestant, context);
}

async function measure({ name, start }: WaitContestant, context: Context, inspect?: Inspect): Promise<void> {
  const { arena, scale, record, progress } = context;
  const rounds: readonly { readonly title: string; readonly cycles: number; readonly load: Load }[] = [
    { title: 'alone', cycles: scale.waits.alone, load: (waits, cycles) => inTurn(waits, cycles, 1) },
    { title: `${PER_SECOND} per second`, cycles: scale.waits.steady, load: steadily },
    {
      title: `${AT_ONCE} at once`,
      cycles: scale.waits.atOnce,
      load: (waits, cycles) => inTurn(waits, cycles, AT_ONCE),
    },
  ];
  const ground = await arena.fresh();
  try {
    const waits = await start({ ground, profileInto: inspect?.profileInto });
    try {
      await waits.prepare(WARM_UP);
      await inTurn(waits, WARM_UP, AT_ONCE);
      for (const { title, cycles, load } of rounds) {
        const contestant = `${name}, ${title}`;
        progress(contestant);
        await waits.prepare(cycles);
        await arena.forgetStatements();
        const meter = await startMeter(arena, ground, waits.serverPid);
        const times = await load(waits, cycles);
        const cost = await meter.read();
        record(contestant, { ...figures(times), perSecond: cycles / cost.seconds, ...perUnit(cost, cycles) });
        await inspect?.onMeasured(contestant, ground, cycles);
      }
    } finally {
      await waits.stop();
    }
  } finally {
    await ground.drop();
  }
}

/** As soon as one has ended the next begins. */
async function inTurn(waits: Waits, cycles: number, atOnce: number): Promise<WaitTimes[]> {
  const times: WaitTimes[] = [];
  let left = cycles;
  const caller = async () => {
    while (left-- > 0) times.push(await waits.cycle());
  };
  await Promise.all(Array.from({ length: atOnce }, caller));
  return times;
}

async function steadily(waits: Waits, cycles: number): Promise<WaitTimes[]> {
  const running: Promise<WaitTimes>[] = [];
  await offer(PER_SECOND, cycles / PER_SECOND, () => running.push(waits.cycle()));
  return await Promise.all(running);
}

function figures(times: readonly WaitTimes[]): Sample {
  const [resumes, cycles] = [times.map(({ resumeMs }) => resumeMs), times.map(({ cycleMs }) => cycleMs)];
  return {
    p50: quantile(resumes, 0.5),
    p99: quantile(resumes, 0.99),
    cycleP50: quantile(cycles, 0.5),
    cycleP99: quantile(cycles, 0.99),
  };
}

export const p8: Measure = {
  id: 'P8',
  title: 'suspend → signal → resume → complete, milliseconds',
  about:
    'Executions that run when their cycle begins: each is suspended, signaled with 1 KiB by another connection as soon as that ' +
    'is answered, and completed as soon as it goes on. A resume goes from the sending of the signal until the handler ' +
    'goes on, a cycle from the sending of the suspension until the answer to the completion (worker library: until a ' +
    `completion stream has told the end). Cycles run alone, ${PER_SECOND} begun per second, and ${AT_ONCE} at once, each ` +
    'followed by another: what the machine can do.',
  columns: [
    { key: 'p50', title: 'resume p50 ms', digits: 1 },
    { key: 'p99', title: 'resume p99 ms', digits: 1 },
    { key: 'cycleP50', title: 'cycle p50 ms', digits: 1 },
    { key: 'cycleP99', title: 'cycle p99 ms', digits: 1 },
    { key: 'perSecond', title: 'per second' },
    ...COST_COLUMNS,
  ],
  everyProfile: true,
  run,
  costs: (context, inspect) => measure(signaledById, context, inspect),
};
