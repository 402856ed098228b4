/** A worker over either transport empties a lane of 10,000, each execution once. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { Client } from '../../src/client/index.js';
import { Worker } from '../../src/worker/index.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const EXECUTIONS = 10_000;

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

test.each(['connect', 'grpc'] as const)('10,000 executions over %s', async (transport) => {
  const { url } = tailrace;
  const lane = `drain-${transport}`;
  const client = new Client({ url, transport });
  const worker = new Worker({ url, transport, lanes: [lane], slots: 500, leaseDurationMs: 60_000 });
  worker.handle('double', ({ input }) => 2 * Number(input.json()));
  const watch = await client.watchCompletions({ filter: { lanes: [lane] } });

  const asked = Array.from({ length: EXECUTIONS }, (_, input) => ({ type: 'double', lane, input }));
  const created = await client.createMany(asked);
  const ids = new Set(created.map((result) => result.ok && result.executionId));
  expect(ids.size).toBe(EXECUTIONS);

  await worker.start();
  const seen = new Set<string>();
  for await (const { executionId, outcome } of watch) {
    expect(outcome).toMatchObject({ state: ExecutionState.SUCCEEDED, attemptNumber: 1 });
    expect(ids.has(executionId) && !seen.has(executionId)).toBe(true);
    seen.add(executionId);
    if (seen.size === EXECUTIONS) break;
  }
  await worker.stop();
  client.close();
});
