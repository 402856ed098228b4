/** EVENTS: from the publication of a single event to the start of its handler, at a rate that does not wait. */
import type { KeySource } from '../../gen/tailrace/v1/subscription_pb.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { ordinalOf } from '../content.js';
import { offer } from '../offered.js';
import { Tally } from '../peers/contestant.js';
import { eventOf, TailraceEvents } from '../peers/tailrace-events.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS, LATENCY_COLUMNS } from './columns.js';
import type { Context, Inspect, Measure } from './measure.js';

const PER_SECOND = 500;
/** Streams, so that ordered handlers seldom wait for each other. */
const STREAMS = 1_000;
const LOOPS = 4;
const MOST_AT_ONCE = 100;
const PATIENCE_MS = 20_000;

interface Variant {
  readonly name: string;
  readonly order?: KeySource['source'];
}

export const AT_ONCE = 'at once';
const VARIANTS: readonly Variant[] = [
  { name: AT_ONCE },
  { name: 'in the order of their streams', order: { case: 'stream', value: true } },
];

async function run(context: Context, inspect?: Inspect): Promise<void> {
  for (const variant of VARIANTS) await measure(variant, context, inspect);
}

async function measure({ name, order }: Variant, { arena, scale, record, progress }: Context, inspect?: Inspect) {
  progress(name);
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url, { profileInto: inspect?.profileInto });
  const publisher = new TailraceEvents(server.url);
  const worker = new TailraceEvents(server.url);
  try {
    await publisher.subscribe('handler', order && { orderingKey: { source: order } });
    const due: number[] = [];
    const took: number[] = [];
    const started = new Tally();
    worker.claim({ type: 'handler', lane: 'handler', size: MOST_AT_ONCE }, LOOPS, async (claims) => {
      const nowMs = performance.now();
      for (const { input } of claims) {
        const text = input?.body.case === 'text' ? input.body.value : '';
        took.push(nowMs - (due[ordinalOf(text)] ?? Number.NaN));
      }
      started.add(claims.length);
      await worker.complete(claims);
    });
    const publish = async (seconds: number) => {
      const calls: Promise<void>[] = [];
      await offer(PER_SECOND, seconds, (_, dueMs) => {
        const ordinal = due.push(dueMs) - 1;
        calls.push(publisher.publish([eventOf(ordinal, { stream: order ? `stream ${ordinal % STREAMS}` : '' })]));
      });
      await Promise.all(calls);
      await worker.loops.unlessFailed(started.reach(due.length, PATIENCE_MS));
    };
    await publish(scale.seconds.warmUp);
    took.length = 0;
    await arena.forgetStatements();
    const meter = await startMeter(arena, ground, server.pid);
    await publish(scale.seconds.latency);
    const cost = perUnit(await meter.read(), took.length);
    record(name, { p50: quantile(took, 0.5), p99: quantile(took, 0.99), most: quantile(took, 1), ...cost });
    await inspect?.onMeasured(name, ground, took.length);
  } finally {
    await publisher.close();
    await worker.close().finally(() => server.stop());
    await ground.drop();
  }
}

export const events: Measure = {
  id: 'EVENTS',
  title: 'publication of an event to start of its handler, milliseconds',
  about:
    `${PER_SECOND} events of 1 KiB per second, each published in a call of its own and counted from the moment it was due until a ` +
    'claim with what its subscription made of it has arrived. At once: it starts in the transaction that publishes. In order: ' +
    `the router starts it, once the place of its event in the log is known, over ${STREAMS.toLocaleString('en')} streams.`,
  columns: [...LATENCY_COLUMNS, ...COST_COLUMNS],
  everyProfile: false,
  run,
  costs: run,
};
