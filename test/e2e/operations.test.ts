/** What operators do, and what others see of it. */

import { durationFromMs, timestampFromMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind, StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

/** Long enough to be postponed within. */
const TTL_MS = 4_000;

let tailrace: TestTailrace;
beforeAll(async () => {
  tailrace = await startTailrace();
});
afterAll(() => tailrace.stop());

async function create(spec: Parameters<TestTailrace['engine']['createExecutions']>[0]['executions']): Promise<string> {
  const { results } = await tailrace.engine.createExecutions({ executions: spec ?? [] });
  const [first] = results;
  if (first?.result.case !== 'ok') throw new Error(`refused: ${first?.result.value?.message}`);
  return first.result.value.executionId;
}

test.concurrent('work postponed beyond its time to live does not expire before it may start', async () => {
  const { admin, completion } = tailrace;
  const executionId = await create([{ type: 'postponed', ttl: durationFromMs(TTL_MS) }]);
  await admin.changeExecution({ executionId, runTime: timestampFromMs(Date.now() + 60_000), reason: 'not today' });
  const waited = await completion.awaitExecutions({
    executionIds: [executionId],
    timeout: durationFromMs(TTL_MS + 1_000),
  });
  expect(waited.done).toBe(false);
  expect(waited.executions[0]?.state).toBe(ExecutionState.SCHEDULED);
});

test.concurrent('a blocked member postponed beyond its time to live does not expire before it may start', async () => {
  const { admin, engine, completion } = tailrace;
  const { executionIds } = await engine.createFlow({
    flow: {},
    members: [
      { localName: 'first', execution: { type: 'first' } },
      { localName: 'postponed', execution: { type: 'postponed', ttl: durationFromMs(TTL_MS) } },
    ],
    edges: [
      {
        upstream: { member: { case: 'localName', value: 'first' } },
        downstream: { member: { case: 'localName', value: 'postponed' } },
      },
    ],
  });
  const executionId = executionIds['postponed'] ?? '';
  await admin.changeExecution({ executionId, runTime: timestampFromMs(Date.now() + 60_000), reason: 'not today' });
  const waited = await completion.awaitExecutions({
    executionIds: [executionId],
    timeout: durationFromMs(TTL_MS + 1_000),
  });
  expect(waited.executions[0]?.state).toBe(ExecutionState.BLOCKED);
});

test('the log tells why an execution was changed', async () => {
  const executionId = await create([{ type: 'changed' }]);
  await tailrace.admin.changeExecution({ executionId, priority: 5, reason: 'urgent' });
  const entry = await firstEntry({ kinds: [LogEntryKind.EXECUTION_CHANGED], executionId });
  expect(entry?.reason).toBe('urgent');
});

test('a watch that follows one lane sees it paused', async () => {
  await create([{ type: 'x', lane: 'followed' }]);
  await tailrace.admin.pauseLane({ lane: 'followed', reason: 'maintenance' });
  const entry = await firstEntry({ kinds: [LogEntryKind.LANE_PAUSED], lanes: ['followed'] });
  expect(entry).toMatchObject({ lane: 'followed', reason: 'maintenance' });
});

test('a worker that claims from another lane later is known for both', async () => {
  const { engine, admin } = tailrace;
  const worker = { name: 'roaming', instanceId: 'roaming-1' };
  await engine.claimExecutions({ worker, lanes: [{ lane: 'one' }], types: ['a'] });
  await engine.claimExecutions({ worker, lanes: [{ lane: 'two' }], types: ['b'] });
  const { workers } = await admin.listWorkers({});
  const known = workers.find(({ identity }) => identity?.name === 'roaming');
  expect(known).toMatchObject({ lanes: ['one', 'two'], types: ['a', 'b'] });
});

async function firstEntry(filter: Parameters<TestTailrace['completion']['watchLog']>[0]['filter']) {
  const stop = new AbortController();
  try {
    const watch = tailrace.completion.watchLog(
      { start: StartPosition.EARLIEST, ...(filter && { filter }) },
      { signal: stop.signal, timeoutMs: 10_000 },
    );
    for await (const { entries } of watch) if (entries[0]) return entries[0];
    return undefined;
  } finally {
    stop.abort();
  }
}
