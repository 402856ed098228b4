/** Tailrace with its own client and its worker library. */
import { Client, text } from '../../src/client/index.js';
import { Worker } from '../../src/worker/index.js';
import { inputOf, NO_ORDINAL, ordinalOf } from '../content.js';
import type { Contestant, Running, StartOptions } from './contestant.js';
import { TYPE } from './tailrace-clients.js';
import { startTailraceServer } from './tailrace-server.js';

/** No-op handlers: enough to fill whole batches. */
const SLOTS = 2_000;

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
    servers: [server],
    stop: async () => {
      const stopClients = async () => {
        await worker.stop();
        watch.close();
        await watching;
        client.close();
      };
      // The server ends even when its clients did not end well.
      await stopClients().finally(() => server.stop());
    },
  };
}

export const tailraceLibrary: Contestant = { name: 'Tailrace, worker library', pace: 'fast', start: startLibrary };
