/** Deliveries of ends at a steady rate to so many subscribers of completion streams: what P9 and WATCHERS have in common. */
import { perUnit, startMeter } from '../arena/meter.js';
import { NO_ORDINAL } from '../content.js';
import { offer } from '../offered.js';
import { Tally } from '../peers/contestant.js';
import { type DrainingWatch, drainCompletions } from '../peers/draining-watch.js';
import { msSinceEnds } from '../peers/since-recorded.js';
import { TailraceClients } from '../peers/tailrace-clients.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import type { Scale } from '../scale.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS } from './columns.js';
import type { Column, Context, Inspect, Sample } from './measure.js';

/** Executions per creating call: a hundred calls a second. */
const BATCH = 20;
const LOOPS = 4;
const PATIENCE_MS = 30_000;

/** What deliveriesTo() answers. */
export const DELIVERY_COLUMNS: readonly Column[] = [
  { key: 'offered', title: 'offered per second' },
  { key: 'reached', title: 'reached per second' },
  { key: 'p50', title: 'p50 ms', digits: 1 },
  { key: 'p99', title: 'p99 ms', digits: 1 },
  { key: 'cutOff', title: 'cut off' },
  { key: 'perSecondStatements', title: 'statements per second', digits: 2 },
  ...COST_COLUMNS,
];

export const subscribersName = (count: number) =>
  count === 1 ? '1 subscriber' : `${count.toLocaleString('en')} subscribers`;

/** The decoding subscriber comes last in the line, behind all that only drain. */
export async function deliveriesTo(subscribers: number, { arena, scale }: Context, inspect?: Inspect): Promise<Sample> {
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  const clients = new TailraceClients(server.url);
  const draining: DrainingWatch[] = [];
  try {
    for (let i = 1; i < subscribers; i++) draining.push(await drainCompletions(server.url));
    const delivered = new Tally();
    let took: number[] = [];
    clients.watch((entries) => {
      took.push(...msSinceEnds(entries));
      delivered.add(entries.length);
    });
    clients.claim(LOOPS, BATCH, (claims) => clients.complete(claims));
    await load(clients, delivered, scale, scale.seconds.warmUp);
    took = [];
    await arena.forgetStatements();
    const meter = await startMeter(arena, ground, server.pid);
    const count = await load(clients, delivered, scale, scale.seconds.delivery);
    const cost = await meter.read();
    await inspect?.onMeasured(subscribersName(subscribers), ground, count);
    return {
      p50: quantile(took, 0.5),
      p99: quantile(took, 0.99),
      offered: count / scale.seconds.delivery,
      reached: count / cost.seconds,
      perSecondStatements: cost.statements / cost.seconds,
      ...(draining.length > 0 && { cutOff: draining.filter((watch) => watch.cutOff()).length }),
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
async function load(
  clients: TailraceClients,
  delivered: Tally,
  { delivered: perSecond }: Scale,
  seconds: number,
): Promise<number> {
  const target = delivered.count;
  const batch = Array.from({ length: BATCH }, () => NO_ORDINAL);
  const creations: Promise<void>[] = [];
  await offer(perSecond / BATCH, seconds, () => creations.push(clients.create(batch)));
  await Promise.all(creations);
  await delivered.reach(target + creations.length * BATCH, PATIENCE_MS);
  return creations.length * BATCH;
}
