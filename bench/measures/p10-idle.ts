/** P10: what an idle server does while workers wait for work. */
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from '../../src/worker/index.js';
import { startMeter } from '../arena/meter.js';
import { NO_ORDINAL } from '../content.js';
import { Tally } from '../peers/contestant.js';
import { TailraceClients, TYPE } from '../peers/tailrace-clients.js';
import { startTailraceServer } from '../peers/tailrace-server.js';
import type { Context, Measure } from './measure.js';

const WORKERS = 50;
const PATIENCE_MS = 20_000;

async function run({ arena, scale, progress, record }: Context): Promise<void> {
  const ground = await arena.fresh();
  const server = await startTailraceServer(ground.url);
  const clients = new TailraceClients(server.url);
  const ended = new Tally();
  const workers = Array.from({ length: WORKERS }, () => new Worker({ url: server.url }).handle(TYPE, () => undefined));
  try {
    await Promise.all(workers.map((worker) => worker.start()));
    // A line that nobody has ever used would cost even less.
    clients.watch((entries) => ended.add(entries.length));
    await clients.create(Array.from({ length: WORKERS }, () => NO_ORDINAL));
    await ended.reach(WORKERS, PATIENCE_MS);
    await pause(scale.seconds.calm * 1_000);
    progress(`${WORKERS} workers wait for ${scale.seconds.idle} s`);
    const meter = await startMeter(arena, ground, server.pid);
    await pause(scale.seconds.idle * 1_000);
    const cost = await meter.read();
    record(`Tailrace, ${WORKERS} workers waiting`, {
      statements: cost.statements / cost.seconds,
      wal: cost.walBytes / cost.seconds,
      serverCpu: cost.serverCpuMs / cost.seconds / 10,
      postgresCpu: cost.postgresCpuMs / cost.seconds / 10,
    });
  } finally {
    await clients.close();
    await Promise.all(workers.map((worker) => worker.stop()));
    await server.stop();
    await ground.drop();
  }
}

export const p10: Measure = {
  id: 'P10',
  title: 'an idle server',
  about:
    'Fifty workers of the worker library, registered and waiting at the server for a type that they have just run, and one ' +
    'completion stream. CPU as a share of one core.',
  columns: [
    { key: 'statements', title: 'statements per second', digits: 2 },
    { key: 'wal', title: 'WAL B per second' },
    { key: 'serverCpu', title: 'server CPU %', digits: 2 },
    { key: 'postgresCpu', title: 'Postgres CPU %', digits: 2 },
  ],
  everyProfile: true,
  run,
};
