/** ROUTING: how many events per second become executions of three subscriptions, and what is in the way of more. */
import type { KeySource } from '../../gen/tailrace/v1/subscription_pb.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { offer } from '../offered.js';
import { eventOf, TailraceEvents } from '../peers/tailrace-events.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure } from './measure.js';

const ASKED_PER_SECOND = 5_000;
const BATCH = 500;
const PUBLISHERS = 3;
const STREAMS = 1_000;
const FLOWS = 1_000;
const WARM_UP_BATCHES = 4;
/** Of what it reaches at most, for a load that must not fall behind. */
const STEADY_SHARE = 0.8;
/** Later than this, the last call has not kept up. */
const KEPT_UP_MS = 1_000;

const byStream: { readonly source: KeySource['source'] } = { source: { case: 'stream', value: true } };

interface Variant {
  readonly name: string;
  /** How many of the three are ordered. */
  readonly ordered: number;
  /** Flows that are there; each event starts one of its own where there are none. */
  readonly flows: number;
}

const VARIANTS: readonly Variant[] = [
  { name: 'three at once', ordered: 0, flows: FLOWS },
  { name: 'three at once, each event in a new flow', ordered: 0, flows: 0 },
  { name: 'two at once, one in order', ordered: 1, flows: FLOWS },
];

export const STEADY = `${VARIANTS[0]?.name}, steadily`;

async function run(context: Context, inspect?: Inspect): Promise<void> {
  for (const variant of VARIANTS) {
    const most = await measure(variant, context, inspect);
    await measure(variant, context, inspect, Math.min(ASKED_PER_SECOND, Math.floor(most * STEADY_SHARE)));
  }
}

/** As fast as it goes, or at a rate. Answers how many per second became executions. */
async function measure(
  { name, ordered, flows }: Variant,
  { arena, scale, record, progress }: Context,
  inspect?: Inspect,
  perSecond?: number,
): Promise<number> {
  const contestant = perSecond === undefined ? `${name}, as fast as it goes` : `${name}, steadily`;
  progress(perSecond === undefined ? contestant : `${contestant}: ${perSecond} per second`);
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  const events = new TailraceEvents(server.url);
  try {
    for (let i = 0; i < 3; i++) await events.subscribe(`handler ${i}`, i < ordered ? { orderingKey: byStream } : {});
    const ids = await events.openFlows(flows);
    let published = 0;
    const publish = async () => {
      const first = published;
      published += BATCH;
      const batch = Array.from({ length: BATCH }, (_, i) =>
        eventOf(i, { stream: `stream ${(first + i) % STREAMS}`, flowId: ids[(first + i) % FLOWS] ?? '' }),
      );
      await events.publish(batch);
    };
    for (let i = 0; i < WARM_UP_BATCHES; i++) await publish();
    await events.routed();
    published = 0;
    await arena.forgetStatements();
    const meter = await startMeter(arena, ground, server.pid);
    const began = performance.now();
    const seconds = perSecond === undefined ? scale.routing.ceilingSeconds : scale.routing.steadySeconds;
    const took =
      perSecond === undefined ? await flatOut(publish, seconds) : await steadily(publish, perSecond, seconds);
    const publishedMs = performance.now();
    await events.routed();
    const behindMs = performance.now() - publishedMs;
    const cost = await meter.read();
    // The last of a steady load comes before its time is over.
    const lastedMs = Math.max(performance.now() - began, perSecond === undefined ? 0 : seconds * 1_000);
    const reached = (published * 1_000) / lastedMs;
    const core = (ms: number) => ms / cost.seconds / 10;
    record(contestant, {
      ...(perSecond !== undefined && { offered: perSecond, keptUp: Number(took.lateMs + behindMs < KEPT_UP_MS) }),
      ...{
        reached,
        reactions: 3 * reached,
        behind: behindMs,
        p50: quantile(took.ms, 0.5),
        p99: quantile(took.ms, 0.99),
      },
      ...{ server: core(cost.serverCpuMs), client: core(cost.clientCpuMs), postgres: core(cost.postgresCpuMs) },
      ...perUnit(cost, published),
    });
    await inspect?.onMeasured(contestant, ground, published);
    return reached;
  } finally {
    await events.close().finally(() => server.stop());
    await ground.drop();
  }
}

interface Took {
  /** Of each call. */
  readonly ms: readonly number[];
  /** How much later the last call was answered than was due. */
  readonly lateMs: number;
}

async function flatOut(publish: () => Promise<void>, seconds: number): Promise<Took> {
  const ms: number[] = [];
  const endMs = performance.now() + seconds * 1_000;
  const publisher = async () => {
    while (performance.now() < endMs) {
      const beganMs = performance.now();
      await publish();
      ms.push(performance.now() - beganMs);
    }
  };
  await Promise.all(Array.from({ length: PUBLISHERS }, publisher));
  return { ms, lateMs: 0 };
}

async function steadily(publish: () => Promise<void>, perSecond: number, seconds: number): Promise<Took> {
  const calls: Promise<number>[] = [];
  await offer(perSecond / BATCH, seconds, (_, dueMs) => calls.push(publish().then(() => performance.now() - dueMs)));
  const ms = await Promise.all(calls);
  return { ms, lateMs: ms.at(-1) ?? 0 };
}

export const routing: Measure = {
  id: 'ROUTING',
  title: 'events that three subscriptions each react to, per second',
  about:
    `Events of 1 KiB over ${STREAMS.toLocaleString('en')} streams and as many flows, or each in a flow of its own, published in batches of ${BATCH}, and nobody who works off what they start. ` +
    `First as fast as ${PUBLISHERS} publishers can, then at a rate: ${ASKED_PER_SECOND.toLocaleString('en')} per second, or four fifths of what was ` +
    'reached where that is less. Calls are counted from when they were due; behind is how long after the last answer events ' +
    'still waited for the router. Kept up: 1 if the last event was stored and routed within a second. Percent are of one core; ' +
    'whoever is near what the others leave of the cores is the bottleneck.',
  columns: [
    { key: 'offered', title: 'offered per second' },
    { key: 'reached', title: 'events per second' },
    { key: 'reactions', title: 'executions per second' },
    { key: 'keptUp', title: 'kept up' },
    { key: 'behind', title: 'behind ms' },
    { key: 'p50', title: 'call p50 ms' },
    { key: 'p99', title: 'call p99 ms' },
    { key: 'server', title: 'server CPU %' },
    { key: 'client', title: 'client CPU %' },
    { key: 'postgres', title: 'Postgres CPU %' },
    ...COST_COLUMNS,
  ],
  everyProfile: false,
  run,
  costs: run,
};
