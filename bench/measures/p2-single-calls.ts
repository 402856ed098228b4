/** P2: single creations, one per call, by 64 callers at once: are they bounded by the calls or by the commits? */

import { type Cost, type Meter, perUnit, startMeter, sum } from '../arena/meter.js';
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
/** Each this many times, one after the other. */
const TURNS = 5;
const ECHO = 'an echo call on the same server';

async function run(context: Context): Promise<void> {
  const { arena, progress, record } = context;
  await measureTailrace(context);
  for (const contestant of [graphileDefaults, bossBatched, rowInserts]) {
    const name = `${contestant.name}, create one`;
    progress(name);
    const options = { arena, onStart: () => undefined, ended: new Tally(), workers: false };
    const sample = await withContestant(contestant, options, async ({ createOne, servers = [] }, ground) => {
      const calls = new Calls(
        () => createOne(NO_ORDINAL),
        () => startMeter(arena, ground, ...servers.map(({ pid }) => pid)),
      );
      await takeTurns([calls], context);
      return calls.sample();
    });
    record(name, sample);
  }
}

/** Both on one server and one connection, in turns, so that they differ in nothing but what they do. */
async function measureTailrace(context: Context): Promise<void> {
  const { arena, progress, record } = context;
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url);
  const clients = new TailraceClients(server.url);
  const meter = () => startMeter(arena, ground, server.pid);
  const echo = new Calls(() => clients.echo(), meter);
  const create = new Calls(() => clients.create([NO_ORDINAL]), meter);
  try {
    progress('Tailrace and its echo');
    await takeTurns([echo, create], context);
    record(ECHO, echo.sample());
    record('Tailrace, create one', create.sample());
  } finally {
    await clients.close();
    await server.stop();
    await ground.drop();
  }
}

/** The first turn of each is the warm-up. */
async function takeTurns(all: readonly Calls[], { scale }: Context): Promise<void> {
  const seconds = scale.seconds.calls / TURNS;
  for (const calls of all) await callFor(seconds, calls.call);
  for (let turn = 0; turn < TURNS; turn++) for (const calls of all) await calls.turn(seconds);
}

/** What one kind of call took and cost over its turns. */
class Calls {
  readonly #meter: () => Promise<Meter>;
  readonly #tookMs: number[] = [];
  readonly #costs: Cost[] = [];

  constructor(
    readonly call: () => Promise<void>,
    meter: () => Promise<Meter>,
  ) {
    this.#meter = meter;
  }

  async turn(seconds: number): Promise<void> {
    const meter = await this.#meter();
    for (const ms of await callFor(seconds, this.call)) this.#tookMs.push(ms);
    this.#costs.push(await meter.read());
  }

  sample(): Sample {
    const cost = sum(this.#costs);
    const count = this.#tookMs.length;
    return {
      perSecond: count / cost.seconds,
      p50: quantile(this.#tookMs, 0.5),
      p99: quantile(this.#tookMs, 0.99),
      ...perUnit(cost, count),
    };
  }
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
    'One execution of 1 KiB per call, and nobody works. The echo is grpc.health.v1 Check through the same client, in turns; ' +
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
