/** proof.md 15: workers, clients and watches go on over a restart of the server, nothing lost and nothing twice. */
import { expect, test } from 'vitest';
import { Client } from '../../src/client/index.js';
import { Worker } from '../../src/worker/index.js';
import { freshDatabase } from '../support/postgres.js';
import { startTailrace } from '../support/tailrace.js';

const EXECUTIONS = 300;

test.concurrent.each(['connect', 'grpc'] as const)('over %s', async (transport) => {
  const database = await freshDatabase();
  const environment = { TAILRACE_DRAIN_SECONDS: '0' };
  let tailrace = await startTailrace({ database, environment });
  const { url } = tailrace;
  const { port } = new URL(url);
  const client = new Client({ url, transport });
  // Claims whose answer the restart cut off come back when their leases end.
  const worker = new Worker({ url, transport, slots: 20, leaseDurationMs: 2_000, log: () => {} });
  worker.handle('work', ({ input }) => input.json());
  const interruptions: Error[] = [];
  const watch = await client.watchCompletions({ onInterruption: (error) => interruptions.push(error) });
  await worker.start();

  const created: string[] = [];
  const creating = (async () => {
    for (let input = 0; input < EXECUTIONS; input++) {
      const { executionId } = await client.create({ type: 'work', input });
      created.push(executionId);
    }
  })();
  const seen: string[] = [];
  for await (const { executionId } of watch) {
    seen.push(executionId);
    if (seen.length === EXECUTIONS / 3) {
      await tailrace.running.stop();
      tailrace = await startTailrace({ database, environment: { ...environment, TAILRACE_PORT: port } });
    }
    if (seen.length === EXECUTIONS) break;
  }
  await creating;
  expect(new Set(seen).size).toBe(EXECUTIONS);
  expect(new Set(seen)).toEqual(new Set(created));
  expect(interruptions.length).toBeGreaterThan(0);

  await worker.stop();
  client.close();
  await tailrace.stop();
  await database.drop();
});
