/**
 * graphile-worker on its public API: with its defaults except the concurrency, whose default of 1 would be a straw man,
 * and with what its manual names for throughput: a local queue and completions in batches. Both create in batches.
 */
import { EventEmitter } from 'node:events';
import { Logger, makeWorkerUtils, run, runMigrations, type WorkerEvents } from 'graphile-worker';
import { inputOf, NO_ORDINAL, ordinalOf } from '../content.js';
import type { Contestant, Running, StartOptions } from './contestant.js';
import { openPool } from './pool.js';

const IDENTIFIER = 'bench';
/** As its own performance test runs it. */
const CONCURRENCY = 24;
const PREFETCH = 500;

type WorkerSettings = NonNullable<NonNullable<GraphileConfig.Preset['worker']>>;

async function start(settings: WorkerSettings, { ground, onStart, ended, workers }: StartOptions): Promise<Running> {
  const logger = new Logger(() => () => undefined);
  const pool = openPool(ground.url, CONCURRENCY + 2);
  const pgPool = pool.pool;
  await runMigrations({ pgPool, logger });
  const events: WorkerEvents = new EventEmitter();
  // Sent once the result has been written.
  events.on('job:complete', () => ended.add(1));
  const runner = workers
    ? await run({
        pgPool,
        logger,
        events,
        noHandleSignals: true,
        concurrency: CONCURRENCY,
        preset: { worker: settings },
        taskList: { [IDENTIFIER]: (payload) => onStart(ordinalOf((payload as { input: string }).input)) },
      })
    : undefined;
  const tools = await makeWorkerUtils({ pgPool, logger });
  const payload = { input: inputOf(NO_ORDINAL) };
  return {
    createMany: async (count) => {
      await tools.addJobs(Array.from({ length: count }, () => ({ identifier: IDENTIFIER, payload })));
    },
    createOne: async (ordinal) => {
      await tools.addJob(IDENTIFIER, { input: inputOf(ordinal) });
    },
    stop: async () => {
      await runner?.stop();
      await tools.release();
      await pool.end();
    },
  };
}

export const graphileDefaults: Contestant = {
  name: 'graphile-worker, defaults',
  pace: 'middling',
  start: (options) => start({}, options),
};

export const graphileBatched: Contestant = {
  name: 'graphile-worker, prefetch and batches',
  pace: 'fast',
  start: (options) =>
    start({ localQueue: { size: PREFETCH }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }, options),
};
