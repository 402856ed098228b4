/** LOADED: what single submissions and deliveries take while the load of P1 keeps the machine busy. */
import { ceilingOf, driveAtRate, STEADY_SHARE } from '../p1-load.js';
import { Tally, withContestant } from '../peers/contestant.js';
import { msSinceEnds } from '../peers/since-recorded.js';
import { rawTailrace } from '../peers/tailrace-raw.js';
import { quantile } from '../statistics.js';
import { Submissions } from '../submissions.js';
import { LATENCY_COLUMNS } from './columns.js';
import type { Context, Measure, Sample } from './measure.js';

const SUBMITTED_PER_SECOND = 100;
const PATIENCE_MS = 60_000;

export const SUBMISSIONS = 'single submissions to their start';
export const DELIVERIES = 'ends to their delivery';
const ALONE = `${SUBMISSIONS}, without the load`;
const LOAD = 'the load';

async function run({ arena, scale, record, progress }: Context): Promise<void> {
  let delivered: number[] = [];
  const contestant = rawTailrace({ name: LOAD, onEntries: (entries) => delivered.push(...msSinceEnds(entries)) });
  const submissions = new Submissions(Number.POSITIVE_INFINITY);
  const ended = new Tally();
  const options = { arena, ended, onStart: (ordinal: number) => submissions.started(ordinal), workers: true };
  await withContestant(contestant, options, async (running) => {
    const { latency } = scale.seconds;
    progress('as fast as it goes');
    const perSecond = await ceilingOf(running, ended, scale.throughput.fast);
    progress(ALONE);
    record(ALONE, figures(await submissions.submit(running, SUBMITTED_PER_SECOND, latency), SUBMITTED_PER_SECOND));
    const offered = perSecond * STEADY_SHARE;
    progress(`beside ${offered.toFixed(0)} per second`);
    const alone = ended.count;
    delivered = [];
    const loadedMs = performance.now();
    const [took, created] = await Promise.all([
      submissions.submit(running, SUBMITTED_PER_SECOND, latency),
      driveAtRate(running, ended, offered, latency),
    ]);
    const all = created + took.length;
    await ended.reach(alone + all, PATIENCE_MS);
    const reached = (all * 1_000) / (performance.now() - loadedMs);
    record(SUBMISSIONS, figures(took, SUBMITTED_PER_SECOND));
    record(DELIVERIES, { ...figures(delivered, offered + SUBMITTED_PER_SECOND), reached });
  });
}

function figures(took: readonly number[], offered: number): Sample {
  return { offered, p50: quantile(took, 0.5), p99: quantile(took, 0.99), most: quantile(took, 1) };
}

export const loaded: Measure = {
  id: 'LOADED',
  title: 'single submissions and deliveries under load, milliseconds',
  about:
    `First as many as P1 has, as fast as they go; then ${STEADY_SHARE * 100} % of the rate that this reached is offered in calls of 500, and beside it ` +
    `${SUBMITTED_PER_SECOND} single submissions per second as in P3, into the same line and for the same workers. Deliveries are those of ` +
    'all ends, as in P9, to one subscriber.',
  columns: [
    { key: 'offered', title: 'offered per second' },
    { key: 'reached', title: 'reached per second' },
    ...LATENCY_COLUMNS,
  ],
  everyProfile: false,
  run,
};
