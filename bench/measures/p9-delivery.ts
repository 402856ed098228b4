/** P9: from the commit of an end to its delivery on a completion stream, and what one more subscriber costs. */
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { perUnit, startMeter } from '../arena/meter.js';
import { NO_ORDINAL } from '../content.js';
import { offer } from '../offered.js';
import { Tally } from '../peers/contestant.js';
import { type DrainingWatch, drainCompletions } from '../peers/draining-watch.js';
import { TailraceClients } from '../peers/tailrace-clients.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Measure, Sample } from './measure.js';

const PER_SECOND = 2_000;
/** Executions per creating call: a hundred calls a second. */
const BATCH = 20;
const LOOPS = 4;
const SUBSCRIBERS = [1, 100] as const;
const WARM_UP_SECONDS = 1;
const PATIENCE_MS = 30_000;

async function run(context: Context): Promise<void> {
  const samples: Sample[] = [];
  for (const subscribers of SUBSCRIBERS) {
    const name = subscribers === 1 ? '1 subscriber' : `${subscribers} subscribers`;
    context.progress(name);
    const sample = await measure(subscribers, context);
    samples.push(sample);
    context.record(name, sample);
  }
  const [one, many] = samples.map((sample) => sample['perSecondStatements'] ?? Number.NaN);
  const more = SUBSCRIBERS[1] - SUBSCRIBERS[0];
  context.record('each subscriber more', { perSecondStatements: ((many ?? Number.NaN) - (one ?? Number.NaN)) / more });
}

/** The decoding subscriber comes last in the line, behind all that only drain. */
async function measure(subscribers: number, { arena, scale }: Context): Promise<Sample> {
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url);
  const clients = new TailraceClients(server.url);
  const draining: DrainingWatch[] = [];
  try {
    for (let i = 1; i < subscribers; i++) draining.push(await drainCompletions(server.url));
    const delivered = new Tally();
    let took: number[] = [];
    clients.watch((entries) => {
      // The database runs on this machine's clock.
      const now = performance.timeOrigin + performance.now();
      for (const { outcome } of entries) if (outcome?.endTime) took.push(now - timestampMs(outcome.endTime));
      delivered.add(entries.length);
    });
    clients.claim(LOOPS, BATCH, (claims) => clients.complete(claims));
    await load(clients, delivered, WARM_UP_SECONDS);
    took = [];
    const meter = await startMeter(arena, ground, server.pid);
    const count = await load(clients, delivered, scale.seconds.delivery);
    const cost = await meter.read();
    return {
      p50: quantile(took, 0.5),
      p99: quantile(took, 0.99),
      offered: count / scale.seconds.delivery,
      reached: count / cost.seconds,
      perSecondStatements: cost.statements / cost.seconds,
      ...perUnit(cost, count),
    };
  } finally {
    for (const watch of draining) watch.close();
    await clients.close();
    await server.stop();
    await ground.drop();
  }
}

/** Answers how many executions it created. */
async function load(clients: TailraceClients, delivered: Tally, seconds: number): Promise<number> {
  const target = delivered.count;
  const batch = Array.from({ length: BATCH }, () => NO_ORDINAL);
  const creations: Promise<void>[] = [];
  await offer(PER_SECOND / BATCH, seconds, () => creations.push(clients.create(batch)));
  await Promise.all(creations);
  await delivered.reach(target + creations.length * BATCH, PATIENCE_MS);
  return creations.length * BATCH;
}

export const p9: Measure = {
  id: 'P9',
  title: 'end of an execution to its delivery, milliseconds',
  about:
    'Executions of 1 KiB created, claimed and completed at 2,000 per second. Counted from the end time, which the ' +
    'database takes before it writes and commits, to the last of the subscribers, the only one that decodes here: the ' +
    "others' decoding would be the work of other machines.",
  columns: [
    { key: 'offered', title: 'offered per second' },
    { key: 'reached', title: 'reached per second' },
    { key: 'p50', title: 'p50 ms', digits: 1 },
    { key: 'p99', title: 'p99 ms', digits: 1 },
    { key: 'perSecondStatements', title: 'statements per second', digits: 2 },
    ...COST_COLUMNS,
  ],
  everyProfile: true,
  run,
};
