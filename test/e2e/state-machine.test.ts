/**
 * The state machine as a property: whatever clients, workers, operators and time do in whatever order, the engine answers
 * as the model says, and the history is sound.
 *
 * A failure prints its seed and path; TAILRACE_TEST_SEED runs the same commands again.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { monotonicMs } from '../../src/runtime/clock.js';
import { Recorded } from '../support/history/recorded.js';
import { BEGINNING, COMMANDS } from '../support/model/commands.js';
import { Model } from '../support/model/model.js';
import { Real } from '../support/model/step.js';
import { SLOW_COMMANDS, TIME_COMMANDS } from '../support/model/time-commands.js';
import { SHORT_WAIT_COMMANDS, WAIT_COMMANDS } from '../support/model/wait-commands.js';

const RUNS = 25;
const COMMANDS_PER_RUN = 50;
const BOUND_MS = 20_000;
/** Runs that it takes to tell anything, however long they last. */
const LEAST = 4;
const given = process.env['TAILRACE_TEST_SEED'];

let recorded: Recorded;
beforeAll(async () => {
  recorded = await Recorded.start();
  // It takes every type, so no execution ends for want of a handler.
  await recorded.clients.engine.heartbeatWorker({ worker: { name: 'model', instanceId: 'model' } });
});
afterAll(() => recorded.stop());

/** Time takes its time: what waits for it comes seldom. */
const step = fc.oneof(
  { weight: 75, arbitrary: fc.oneof(...COMMANDS) },
  { weight: 20, arbitrary: fc.oneof(...WAIT_COMMANDS) },
  { weight: 4, arbitrary: fc.oneof(...TIME_COMMANDS, ...SHORT_WAIT_COMMANDS) },
  { weight: 1, arbitrary: fc.oneof(...SLOW_COMMANDS) },
);

test('whatever happens, the engine does as the model says', async () => {
  const until = monotonicMs() + BOUND_MS;
  let runs = 0;
  const commands = fc.commands([step], { maxCommands: COMMANDS_PER_RUN, size: 'max' });
  const property = fc.asyncProperty(BEGINNING, commands, async (beginning, rest) => {
    if (runs >= LEAST && monotonicMs() > until) return;
    const real = new Real(recorded, `run ${runs++}`);
    const model = new Model();
    await fc.asyncModelRun(() => ({ model, real }), beginning);
    await fc.asyncModelRun(() => ({ model, real }), rest);
    await expectSameEnd(model, real);
  });
  await fc.assert(property, {
    numRuns: RUNS,
    ...(given && { seed: Number(given) }),
  });
  expect(runs).toBeGreaterThanOrEqual(LEAST);
});

/** Everything at once, as a list shows it: states, attempts, counters. */
async function expectSameEnd(model: Model, real: Real): Promise<void> {
  const { admin } = recorded.clients;
  const { executions } = await admin.listExecutions({ filter: { lanes: [real.lane] }, pageSize: 1_000 });
  const shown = executions.map(({ executionId, state, attemptCount, failureCount, reclaimCount }) => ({
    id: executionId,
    state: ExecutionState[state],
    attempt: attemptCount,
    ...(state < ExecutionState.SUCCEEDED && { failures: failureCount, reclaims: reclaimCount }),
  }));
  const expected = model.executions.map(({ id, state, attempt, failures, reclaims, terminal }) => ({
    id,
    state: ExecutionState[state],
    attempt,
    ...(!terminal && { failures, reclaims }),
  }));
  const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1);
  expect(shown.sort(byId)).toEqual(expected.sort(byId));
}
