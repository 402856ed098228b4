/** The main path, from a creation to its completion on a watch. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

test('what is created is claimed once, completed once, and seen on the watch', async () => {
  const { engine, completion } = tailrace;
  const watch = completion.watchCompletions({ start: StartPosition.EARLIEST })[Symbol.asyncIterator]();
  expect((await watch.next()).value?.heartbeat).toBeDefined();

  const created = await engine.createExecutions({
    executions: [{ type: 'greet', input: { body: { case: 'text', value: 'hello' } }, tags: { team: 'a' } }],
  });
  const executionId = created.results[0]?.result.case === 'ok' ? created.results[0].result.value.executionId : '';
  const { claims } = await engine.claimExecutions({
    worker: { name: 'w', instanceId: 'one' },
    maxExecutions: 10,
    wait: { seconds: 5n, nanos: 0 },
  });
  expect(claims.map((claim) => [claim.executionId, claim.type, claim.attemptNumber])).toEqual([
    [executionId, 'greet', 1],
  ]);
  const [claim] = claims;
  if (!claim?.lease) throw new Error('a claim without a lease');
  const { executionId: id, leaseId, fencingToken } = claim.lease;
  const done = await engine.completeExecutions({
    completions: [
      { lease: { executionId: id, leaseId, fencingToken }, result: { body: { case: 'text', value: 'hi' } } },
    ],
  });
  expect(done.results[0]?.result.case).toBe('ok');

  const message = (await watch.next()).value;
  expect(message?.entries).toHaveLength(1);
  expect(message?.entries[0]).toMatchObject({
    executionId,
    lane: 'default',
    type: 'greet',
    tags: { team: 'a' },
    outcome: { state: ExecutionState.SUCCEEDED, attemptNumber: 1, result: { body: { case: 'text', value: 'hi' } } },
  });
  await watch.return?.(undefined);
});
