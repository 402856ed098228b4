/** P3: from the submission of a single execution to the start of its handler, at a rate that does not wait. */
import { type Contestant, Tally, withContestant } from '../peers/contestant.js';
import { graphileBatched, graphileDefaults } from '../peers/graphile-worker.js';
import { bossBatched } from '../peers/pg-boss.js';
import { tailraceLibrary } from '../peers/tailrace-library.js';
import { tailraceRaw } from '../peers/tailrace-raw.js';
import { quantile } from '../statistics.js';
import { Submissions } from '../submissions.js';
import { LATENCY_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure, Sample } from './measure.js';

const CONTESTANTS = [tailraceRaw, tailraceLibrary, graphileDefaults, graphileBatched, bossBatched];

const LEAST_PER_SECOND = 100;
/** A rate is sustained while less than this share of a second's submissions waits to start. */
const SUSTAINED_BACKLOG = 0.5;

async function run(context: Context): Promise<void> {
  for (const contestant of CONTESTANTS) {
    for (let perSecond = context.scale.offered; perSecond >= LEAST_PER_SECOND; perSecond /= 2) {
      context.progress(`${contestant.name} at ${perSecond} per second`);
      const sample = await measure(contestant, perSecond, context);
      if (sample) context.record(contestant.name, sample);
      if (sample) break;
    }
  }
}

/** Undefined when it does not keep up with the rate. */
async function measure(
  contestant: Contestant,
  perSecond: number,
  { arena, scale }: Context,
  inspect?: Inspect,
): Promise<Sample | undefined> {
  const backlog = perSecond * SUSTAINED_BACKLOG;
  let submissions = new Submissions(backlog);
  const onStart = (ordinal: number) => submissions.started(ordinal);
  const options = {
    arena,
    onStart,
    ended: new Tally(),
    workers: true,
    ...(inspect && { profileInto: inspect.profileInto }),
  };
  return await withContestant(contestant, options, async (running, ground) => {
    await submissions.submit(running, perSecond, scale.seconds.warmUp);
    // That it did not keep up while it warmed up does not count.
    submissions = new Submissions(backlog);
    await arena.forgetStatements();
    const took = await submissions.submit(running, perSecond, scale.seconds.latency);
    await inspect?.onMeasured(contestant.name, ground, took.length);
    if (submissions.overrun) return undefined;
    return { offered: perSecond, p50: quantile(took, 0.5), p99: quantile(took, 0.99), most: quantile(took, 1) };
  });
}

export const p3: Measure = {
  id: 'P3',
  title: 'submission to start of the handler, milliseconds',
  about:
    'Single submissions of 1 KiB at a fixed rate, counted from the moment each was due. Offered are 1,000 per second (with --quick 250); ' +
    'who does not keep up is tried again with half of it.',
  columns: [{ key: 'offered', title: 'offered per second' }, ...LATENCY_COLUMNS],
  everyProfile: true,
  run,
  costs: async (context, inspect) => {
    const { offered } = context.scale;
    const sample = await measure(tailraceRaw, offered, context, inspect);
    if (sample) context.record(tailraceRaw.name, sample);
  },
};
