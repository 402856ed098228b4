/** A database that is lost under a running server: everybody is told so with a time to come back, and all goes on. */
import { ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ErrorDetailSchema } from '../../gen/tailrace/v1/error_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { verify } from '../../src/repository/verification/index.js';
import { pause } from '../../src/runtime/clock.js';
import { seconds } from '../support/estate.js';
import { eventually } from '../support/eventually.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

let direct: TestDatabase;
let proxy: FaultProxy;
let tailrace: TestTailrace;
beforeAll(async () => {
  direct = await freshDatabase();
  const through = await FaultProxy.before(direct.url);
  proxy = through.proxy;
  tailrace = await startTailrace({ database: { ...direct, url: through.url } });
});
afterAll(async () => {
  await tailrace.stop();
  await proxy.close();
  await direct.drop();
});

const worker = { name: 'worker', instanceId: 'one' };
const unavailable = { reason: 'DATABASE_UNAVAILABLE', retryDelay: seconds(1) };

async function create(type: string): Promise<string> {
  const { results } = await tailrace.engine.createExecutions({ executions: [{ type }] });
  return results[0]?.result.case === 'ok' ? results[0].result.value.executionId : '';
}

/** The typed detail of a refusal; undefined for an answer. */
async function refusalOf(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof ConnectError ? error.findDetails(ErrorDetailSchema)[0] : error;
}

/** As any client does: the same call again, until the database has answered. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      expect(await refusalOf(Promise.reject(error))).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' });
      await pause(20);
    }
  }
}

/** The same, and every connection breaks while the first is under way. */
function insistWhileCut<T>(call: () => Promise<T>): Promise<T> {
  setImmediate(() => proxy.cut());
  return insist(call);
}

async function isReady(): Promise<boolean> {
  return (await fetch(`${tailrace.url}/readyz`)).ok;
}

test('calls, watches and waits are told; watches resume from their cursor, claims go on', async () => {
  const { engine, completion, admin } = tailrace;
  const before = await create('before');
  const watch = completion.watchLog({ start: StartPosition.EARLIEST })[Symbol.asyncIterator]();
  const seen: string[] = [];
  while (!seen.includes(before)) {
    for (const { executionId } of (await watch.next()).value?.entries ?? []) seen.push(executionId);
  }
  const waitingClaim = insist(() => engine.claimExecutions({ types: ['after'], worker, wait: seconds(60) }));
  const waitingEnd = refusalOf(completion.awaitExecutions({ executionIds: [before], timeout: seconds(60) }));
  const ended = watch.next().then(
    () => undefined,
    (error: unknown) => (error instanceof ConnectError ? error.findDetails(ErrorDetailSchema)[0] : undefined),
  );
  await eventually(isReady);

  proxy.refuse();
  expect(await refusalOf(create('lost'))).toMatchObject(unavailable);
  expect(await refusalOf(admin.getExecution({ executionId: before }))).toMatchObject(unavailable);
  expect(await refusalOf(engine.claimExecutions({ worker }))).toMatchObject(unavailable);
  const cut = await ended;
  expect(cut).toMatchObject(unavailable);
  expect(await waitingEnd).toMatchObject(unavailable);
  await eventually(async () => !(await isReady()));

  proxy.pass();
  await eventually(isReady);
  const after = await create('after');
  expect((await waitingClaim).claims.map(({ executionId }) => executionId)).toEqual([after]);
  const resumed = completion.watchLog({ cursor: cut?.metadata['cursor'] ?? '' })[Symbol.asyncIterator]();
  const later: string[] = [];
  while (!later.includes(after)) {
    for (const { executionId } of (await resumed.next()).value?.entries ?? []) later.push(executionId);
  }
  expect(later).not.toContain(before);
  await resumed.return?.();
});

test('calls whose connection breaks are repeated under their own ids, and counted once', async () => {
  const { engine, completion } = tailrace;
  const created: string[] = [];
  for (let i = 0; i < 10; i++) {
    const executions = [{ type: 'rough', requestId: `rough ${i}` }];
    const { results } = await insistWhileCut(() => engine.createExecutions({ executions }));
    if (results[0]?.result.case === 'ok') created.push(results[0].result.value.executionId);
  }
  expect(new Set(created).size).toBe(10);
  await eventually(isReady);
  const ask = { types: ['rough'], worker, maxExecutions: 100, wait: seconds(5), leaseDuration: seconds(600) };
  const { claims } = await engine.claimExecutions(ask);
  expect(new Set(claims.map(({ executionId }) => executionId))).toEqual(new Set(created));
  for (const { lease } of claims) {
    const { executionId = '', leaseId = '', fencingToken = 0n } = lease ?? {};
    const completions = [{ lease: { executionId, leaseId, fencingToken } }];
    const { results } = await insistWhileCut(() => engine.completeExecutions({ completions }));
    expect(results[0]?.result.case).toBe('ok');
  }
  await eventually(isReady);
  const { executions } = await completion.awaitExecutions({ executionIds: created });
  expect(executions.map(({ outcome }) => outcome?.attemptNumber)).toEqual(created.map(() => 1));
  const broken = (await verify(tailrace.running.engine.database)).filter(({ violations }) => violations.length > 0);
  expect(broken).toEqual([]);
});
