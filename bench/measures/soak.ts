/** SOAK: whether the server's memory stays what it is under a load that goes on. */
import { setTimeout as pause } from 'node:timers/promises';
import { residentBytes } from '../arena/memory.js';
import { ceilingOf, driveAtRate, STEADY_SHARE } from '../p1-load.js';
import { type ServerProcess, Tally, withContestant } from '../peers/contestant.js';
import { heapBytes, TELLING } from '../peers/tailrace-metrics.js';
import { rawTailrace } from '../peers/tailrace-raw.js';
import { quantile } from '../statistics.js';
import type { Context, Measure, Sample } from './measure.js';

/** Over the whole time. */
const LOOKS = 400;
const MIB = 2 ** 20;

export const MIDDLE = 'the middle tenth';
export const LAST = 'the last tenth';
const TENTHS = [
  { name: 'the first tenth', tenth: 0 },
  { name: MIDDLE, tenth: 4.5 },
  { name: LAST, tenth: 9 },
];

interface Look {
  readonly atMs: number;
  readonly resident: number;
  readonly heap: number;
  readonly ended: number;
}

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  const contestant = rawTailrace({ name: 'Tailrace', settings: TELLING });
  const ended = new Tally();
  const options = { arena, ended, onStart: () => undefined, workers: true };
  await withContestant(contestant, options, async (running) => {
    const [server] = running.servers ?? [];
    if (server === undefined) throw new Error('there is no server whose memory could be looked at');
    progress('as fast as it goes');
    const perSecond = (await ceilingOf(running, ended, scale.throughput.fast)) * STEADY_SHARE;
    const { soak } = scale.seconds;
    progress(`${perSecond.toFixed(0)} per second for ${soak} s`);
    const [looks] = await Promise.all([lookFor(soak, server, ended), driveAtRate(running, ended, perSecond, soak)]);
    for (const { name, tenth } of TENTHS) {
      const from = tenth * soak * 100;
      const those = looks.filter(({ atMs }) => atMs >= from && atMs < from + soak * 100);
      record(name, { offered: perSecond, ...figures(those) });
    }
  });
}

async function lookFor(seconds: number, { pid, url }: ServerProcess, ended: Tally): Promise<Look[]> {
  const startedMs = performance.now();
  const looks: Look[] = [];
  for (let atMs = 0; atMs < seconds * 1_000; atMs = performance.now() - startedMs) {
    const resident = (await residentBytes(pid)) ?? Number.NaN;
    looks.push({ atMs, resident, heap: await heapBytes(url), ended: ended.count });
    await pause((seconds * 1_000) / LOOKS);
  }
  return looks;
}

function figures(looks: readonly Look[]): Sample {
  const [first, last] = [looks[0], looks.at(-1)];
  const seconds = ((last?.atMs ?? 0) - (first?.atMs ?? 0)) / 1_000;
  const mib = (pick: (look: Look) => number, share: number) => quantile(looks.map(pick), share) / MIB;
  return {
    reached: ((last?.ended ?? 0) - (first?.ended ?? 0)) / seconds,
    resident: mib(({ resident }) => resident, 0.5),
    most: mib(({ resident }) => resident, 1),
    heap: mib(({ heap }) => heap, 0),
  };
}

export const soak: Measure = {
  id: 'SOAK',
  title: "the server's memory, MiB",
  about:
    `An hour (with --quick seconds) of ${STEADY_SHARE * 100} % of the rate that P1's load had just reached. Resident is the median of the tenth, the heap its ` +
    'least, which is what was left after a collection. The database keeps everything, some 2 KB for each.',
  columns: [
    { key: 'offered', title: 'offered per second' },
    { key: 'reached', title: 'ended per second' },
    { key: 'resident', title: 'resident' },
    { key: 'most', title: 'most' },
    { key: 'heap', title: 'heap' },
  ],
  ratio: { column: 'resident', to: MIDDLE, title: '× the middle' },
  everyProfile: false,
  once: true,
  run,
};
