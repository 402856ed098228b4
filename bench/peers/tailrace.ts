/** Tailrace over its generated clients, with batches as a worker library sends them, and with the worker library. */
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { Client, text } from '../../src/client/index.js';
import { Worker } from '../../src/worker/index.js';
import { inputOf, NO_ORDINAL, ordinalOf } from '../content.js';
import type { Contestant, Running, StartOptions } from './contestant.js';
import { TailraceClients, TYPE, textOf } from './tailrace-clients.js';
import { startTailraceServer, type TailraceServer } from './tailrace-server.js';

const LOOPS = 4;
const BATCH = 500;
/** No-op handlers: enough to fill whole batches. */
const SLOTS = 2_000;

async function startRaw(options: StartOptions): Promise<Running> {
  const { onStart, ended, workers } = options;
  const server = await startTailraceServer(options.ground.url, options);
  const clients = new TailraceClients(server.url);
  clients.watch((entries) => ended.add(entries.length));
  const work = async (claims: readonly Claim[]) => {
    for (const claim of claims) onStart(ordinalOf(textOf(claim)));
    await clients.complete(claims);
  };
  if (workers) clients.claim(LOOPS, BATCH, work);
  return {
    createMany: (count) => clients.create(Array.from({ length: count }, () => NO_ORDINAL)),
    createOne: (ordinal) => clients.create([ordinal]),
    serverPid: server.pid,
    stop: () => stopAll(() => clients.close(), server),
  };
}

async function startLibrary(options: StartOptions): Promise<Running> {
  const { onStart, ended, workers } = options;
  const server = await startTailraceServer(options.ground.url, options);
  const { url } = server;
  const client = new Client({ url });
  const watch = await client.watchCompletions({ from: 'earliest' });
  const watching = (async () => {
    for await (const _ of watch) ended.add(1);
  })();
  const worker = new Worker({ url, slots: SLOTS, leaseDurationMs: 30_000 });
  worker.handle(TYPE, ({ input }) => onStart(ordinalOf(input.text())));
  if (workers) await worker.start();
  const specOf = (ordinal: number) => ({ type: TYPE, input: text(inputOf(ordinal)) });
  const create = async (ordinals: readonly number[]) => {
    const results = await client.createMany(ordinals.map(specOf));
    for (const result of results) if (!result.ok) throw result.error;
  };
  return {
    createMany: (count) => create(Array.from({ length: count }, () => NO_ORDINAL)),
    createOne: (ordinal) => create([ordinal]),
    serverPid: server.pid,
    stop: () =>
      stopAll(async () => {
        await worker.stop();
        watch.close();
        await watching;
        client.close();
      }, server),
  };
}

/** The server ends even when its clients did not end well. */
async function stopAll(stopClients: () => Promise<void>, server: TailraceServer): Promise<void> {
  try {
    await stopClients();
  } finally {
    await server.stop();
  }
}

export const tailraceRaw: Contestant = { name: 'Tailrace, generated clients', pace: 'fast', start: startRaw };

export const tailraceLibrary: Contestant = { name: 'Tailrace, worker library', pace: 'fast', start: startLibrary };
