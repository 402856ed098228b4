/** P2: single creations, one per call, by 64 callers at once: are they bounded by the calls or by the commits? */

import type { Ground } from '../arena/arena.js';
import { perUnit, startMeter } from '../arena/meter.js';
import { NO_ORDINAL } from '../content.js';
import { Tally, withContestant } from '../peers/contestant.js';
import { graphileDefaults } from '../peers/graphile-worker.js';
import { bossBatched } from '../peers/pg-boss.js';
import { rowInserts } from '../peers/row-inserts.js';
import { TailraceClients } from '../peers/tailrace-clients.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import { quantile } from '../statistics.js';
import { COST_COLUMNS } from './columns.js';
import type { Context, Measure, Sample } from './measure.js';

const CALLERS = 64;
const WARM_UP_SHARE = 0.2;
const ECHO = 'an echo call on the same server';

interface Calls {
  readonly call: () => Promise<void>;
  readonly ground: Ground;
  readonly serverPid: number | undefined;
}

async function run(context: Context): Promise<void> {
  const { arena } = context;
  await measureTailrace(context);
  for (const contestant of [graphileDefaults, bossBatched, rowInserts]) {
    const name = `${contestant.name}, create one`;
    context.progress(name);
    const options = { arena, onStart: () => undefined, ended: new Tally(), workers: false };
    const sample = await withContestant(contestant, options, ({ createOne, serverPid }, ground) =>
      measure(context, { call: () => createOne(NO_ORDINAL), ground, serverPid }),
    );
    context.record(name, sample);
  }
}

/** Both on one server and one connection, so that the calls differ in nothing but what they do. */
async function measureTailrace(context: Context): Promise<void> {
  const ground = await context.arena.fresh();
  const server = await startTailraceServer(ground.url);
  const clients = new TailraceClients(server.url);
  const serverPid = server.pid;
  try {
    context.progress(ECHO);
    context.record(ECHO, await measure(context, { call: () => clients.echo(), ground, serverPid }));
    context.progress('Tailrace');
    const call = () => clients.create([NO_ORDINAL]);
    context.record('Tailrace, create one', await measure(context, { call, ground, serverPid }));
  } finally {
    await clients.close();
    await server.stop();
    await ground.drop();
  }
}

async function measure({ arena, scale }: Context, { call, ground, serverPid }: Calls): Promise<Sample> {
  const seconds = scale.seconds.calls;
  await callFor(seconds * WARM_UP_SHARE, call);
  const meter = await startMeter(arena, ground, serverPid);
  const took = await callFor(seconds, call);
  const cost = await meter.read();
  return {
    perSecond: took.length / cost.seconds,
    p50: quantile(took, 0.5),
    p99: quantile(took, 0.99),
    ...perUnit(cost, took.length),
  };
}

/** Answers how many milliseconds each call took. */
async function callFor(seconds: number, call: () => Promise<void>): Promise<number[]> {
  const until = performance.now() + seconds * 1_000;
  const took: number[] = [];
  const caller = async () => {
    while (performance.now() < until) {
      const started = performance.now();
      await call();
      took.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, caller));
  return took;
}

export const p2: Measure = {
  id: 'P2',
  title: 'single creations by 64 callers, calls per second',
  about:
    'One execution of 1 KiB per call, and nobody works. The echo is grpc.health.v1 Check through the same client; ' +
    'the others send statements of their own, without a server between.',
  columns: [
    { key: 'perSecond', title: 'per second' },
    { key: 'p50', title: 'p50 ms', digits: 1 },
    { key: 'p99', title: 'p99 ms', digits: 1 },
    ...COST_COLUMNS,
  ],
  ratio: { column: 'perSecond', to: ECHO, title: '× the echo' },
  everyProfile: true,
  run,
};
