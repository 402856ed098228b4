/** What waiting costs: an idle server sends next to nothing to Postgres, however many wait at it. */
import { expect, test } from 'vitest';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { monotonicMs, pause } from '../../src/runtime/clock.js';
import { seconds } from '../support/estate.js';
import { eventually } from '../support/eventually.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const WORKERS = 50;
const WATCHERS = 5;
const WINDOW_MS = 5_000;
/** Of waits that run out: in most of them nobody may have to look. */
const ROUNDS = 8;

/** Statements a second, over a few. */
async function rate({ engine: { database } }: TestTailrace['running']): Promise<number> {
  const [before, begunMs] = [database.sent, monotonicMs()];
  await pause(WINDOW_MS);
  // Longer than that where the machine stands still, and then there are more.
  return (database.sent - before) / ((monotonicMs() - begunMs) / 1_000);
}

/** All at once, each at a server of its own: they wait nearly all of the time. */
function costs(name: string, measured: (tailrace: TestTailrace) => Promise<void>): void {
  test.concurrent(name, async () => {
    const tailrace = await startTailrace();
    await measured(tailrace).finally(() => tailrace.stop());
  });
}

/** What was left to do (positions, bounds, counts) is done: no more statements over a few seconds than there may be. */
async function quiet({ engine: { database } }: TestTailrace['running'], perSecond: number): Promise<void> {
  const isQuiet = async () => {
    const before = database.sent;
    await pause(3_000);
    return database.sent - before <= 3 * perSecond;
  };
  await eventually(isQuiet, 40_000);
}

costs(
  'fifty waiting workers and five watchers: fewer than two statements a second',
  async ({ engine, completion, running }) => {
    const leave = new AbortController();
    const { signal } = leave;
    // Their lanes and types are known, and empty.
    const executions = Array.from({ length: WORKERS }, (_, i) => ({ type: `type ${i % 5}`, lane: `lane ${i % 7}` }));
    await engine.createExecutions({ executions });
    // Due in forty days: longer than a timer of the process can be set for.
    const far = seconds(40 * 24 * 3_600);
    await engine.createExecutions({ executions: [{ type: 'far', lane: 'far', delay: far, ttl: far }] });
    const lanes = Array.from({ length: 7 }, (_, i) => ({ lane: `lane ${i}` }));
    const worker = (i: number) => ({ name: 'worker', instanceId: `instance ${i}` });
    await engine.claimExecutions({ lanes, worker: worker(0), maxExecutions: 500, leaseDuration: seconds(3_600) });
    const watches = Array.from({ length: WATCHERS }, () =>
      completion.watchCompletions({ start: StartPosition.LATEST }, { signal })[Symbol.asyncIterator](),
    );
    for (const watch of watches) await watch.next();
    const ended: Promise<unknown>[] = watches.map((watch) => watch.next().catch(() => undefined));
    for (let i = 0; i < WORKERS; i++) {
      await engine.heartbeatWorker({ worker: worker(i), lanes: lanes.map(({ lane }) => lane) });
      const ask = { lanes, worker: worker(i), wait: seconds(60) };
      ended.push(engine.claimExecutions(ask, { signal }).catch(() => undefined));
    }
    await quiet(running, 2);
    const perSecond = await rate(running);
    leave.abort();
    await Promise.all(ended);
    expect(perSecond).toBeLessThan(2);
    expect(perSecond).toBeGreaterThan(0); // the pulse
  },
);

costs('workers that only say that they are still there cause no statement each', async ({ engine, running }) => {
  const workers = Array.from({ length: WORKERS }, (_, i) => ({ name: 'worker', instanceId: `still there ${i}` }));
  for (const worker of workers) await engine.heartbeatWorker({ worker, types: ['a type'] });
  await quiet(running, 2);
  const before = running.engine.database.sent;
  for (const worker of workers) await engine.heartbeatWorker({ worker, types: ['a type'] });
  expect(running.engine.database.sent - before).toBeLessThan(WORKERS / 5);
});

costs('waits for work that run out and are renewed ask the database next to nothing', async ({ engine, running }) => {
  const lane = 'ran dry';
  const ask = (i: number) => ({ worker: { name: 'worker', instanceId: `waiting ${i}` }, lanes: [{ lane }] });
  const wait = (i: number) => engine.claimExecutions({ ...ask(i), wait: seconds(1) });
  const workers = Array.from({ length: WORKERS }, (_, i) => i);
  await engine.createExecutions({ executions: [{ type: 'a type', lane }] });
  for (const i of workers) await engine.claimExecutions({ ...ask(i), leaseDuration: seconds(3_600) });
  // The workers are known.
  await quiet(running, 2);
  const before = running.engine.database.sent;
  for (let round = 0; round < ROUNDS; round++) await Promise.all(workers.map(wait));
  // All look in the first round, and in one before which the machine stood still: what was seen empty is too long ago.
  expect(running.engine.database.sent - before).toBeLessThan((ROUNDS * WORKERS) / 2);
});

costs('fifty workers that wait at a lane that is full look there one by one', async ({ engine, admin, running }) => {
  const lane = 'full';
  await admin.putQuota({ lane, concurrencyLimit: 1 });
  await engine.createExecutions({
    executions: [
      { type: 'work', lane },
      { type: 'work', lane },
    ],
  });
  const worker = (i: number) => ({ name: 'worker', instanceId: `at a full lane ${i}` });
  const ask = { lanes: [{ lane }], leaseDuration: seconds(3_600) };
  await engine.claimExecutions({ ...ask, worker: worker(0) });
  const leave = new AbortController();
  const waits = Array.from({ length: WORKERS }, (_, i) =>
    engine
      .claimExecutions({ ...ask, worker: worker(i), wait: seconds(60) }, { signal: leave.signal })
      .catch(() => undefined),
  );
  await quiet(running, 5);
  const perSecond = await rate(running);
  leave.abort();
  await Promise.all(waits);
  expect(perSecond).toBeLessThan(5);
});
