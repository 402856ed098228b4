/** Proof 21: servers are identical and know nothing of each other. Many start at once; two share work; old meets new. */
import { cp, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import { StartPosition } from '../../gen/tailrace/v1/log_pb.js';
import { migrate } from '../../src/repository/migrations/index.js';
import { verify } from '../../src/repository/verification/index.js';
import { makeEstate, seconds } from '../support/estate.js';
import { emptyDatabase, freshDatabase, type TestDatabase } from '../support/postgres.js';
import { startTailrace, type TestTailrace } from '../support/tailrace.js';

const SERVERS = 20;

async function rowsOf<R extends object>(database: TestDatabase, sql: string): Promise<R[]> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  try {
    return (await client.query<R>(sql)).rows;
  } finally {
    await client.end();
  }
}

test('proof 21: twenty servers that start at once on an empty database all serve', async () => {
  const database = await emptyDatabase();
  const environment = { TAILRACE_DATABASE_CONNECTIONS: '3' };
  const servers = await Promise.all(Array.from({ length: SERVERS }, () => startTailrace({ database, environment })));
  const worker = { name: 'worker', instanceId: 'one' };
  // Everybody creates, with classes and namespaces that all of them make at once; everybody claims what any created.
  const created = await Promise.all(
    servers.map(async ({ engine }, i) => {
      const { results } = await engine.createExecutions({
        namespace: `space ${i % 2}`,
        executions: [{ type: `type ${i % 5}`, requestId: `request ${i % 10}` }],
      });
      return results[0]?.result.case === 'ok' ? results[0].result.value.executionId : '';
    }),
  );
  expect(created).not.toContain('');
  const claims: string[] = [];
  const leaseDuration = seconds(600);
  for (const { engine } of servers) {
    for (const namespace of ['space 0', 'space 1']) {
      const taken = await engine.claimExecutions({ namespace, worker, maxExecutions: 2, leaseDuration });
      claims.push(...taken.claims.map(({ executionId }) => executionId));
    }
  }
  expect(new Set(claims).size).toBe(claims.length);
  expect(new Set(claims)).toEqual(new Set(created));
  const [first] = servers;
  const rules = first ? await verify(first.running.engine.database) : [];
  expect(rules.filter(({ violations }) => violations.length > 0)).toEqual([]);
  expect(rules.length).toBeGreaterThan(10);
  await Promise.all(servers.map((server) => server.stop()));
  const { schema } = database;
  const applied = await rowsOf<{ name: string }>(database, `select name from ${schema}.migration order by version`);
  const files = (await readdir('migrations')).filter((name) => name.endsWith('.sql')).sort();
  expect(applied.map(({ name }) => name)).toEqual(files);
  await database.drop();
});

describe('proof 21: a server beside a newer schema', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'tailrace-newer-'));
  });
  afterAll(async () => rm(directory, { recursive: true }));

  const newer = async (database: TestDatabase, olderServers: 'allowed' | 'refused') => {
    const from = join(directory, olderServers);
    await cp('migrations', from, { recursive: true });
    const migration = `-- Adds what this server does not know.\n-- older-servers: ${olderServers}\ncreate table {schema}.newer (id int);\n`;
    await writeFile(join(from, '9999_add_newer.sql'), migration);
    await migrate({ url: database.url, schema: database.schema, directory: from });
  };

  test('goes on and starts again where the migration allows it', async () => {
    const database = await freshDatabase();
    const before = await startTailrace({ database });
    await newer(database, 'allowed');
    const after = await startTailrace({ database });
    for (const { engine } of [before, after]) {
      const { results } = await engine.createExecutions({ executions: [{ type: 'work' }] });
      expect(results[0]?.result.case).toBe('ok');
    }
    await Promise.all([before.stop(), after.stop()]);
    await database.drop();
  });

  test('refuses to start where it does not, and says what to do', async () => {
    const database = await freshDatabase();
    await newer(database, 'refused');
    await expect(startTailrace({ database })).rejects.toMatchObject({
      reason: 'SCHEMA_TOO_NEW',
      message: expect.stringMatching(/9999_add_newer.sql.*upgrade this server/),
    });
    const environment = { TAILRACE_MIGRATE: 'false' };
    await expect(startTailrace({ database, environment })).rejects.toMatchObject({ reason: 'SCHEMA_TOO_NEW' });
    await database.drop();
  });
});

describe('two servers on one database', () => {
  let database: TestDatabase;
  let here: TestTailrace;
  let there: TestTailrace;
  beforeAll(async () => {
    database = await freshDatabase();
    [here, there] = await Promise.all([startTailrace({ database }), startTailrace({ database })]);
  });
  afterAll(async () => {
    await Promise.all([here.stop(), there.stop()]);
    await database.drop();
  });

  const worker = { name: 'worker', instanceId: 'one' };

  test('what one creates wakes a claim that waits at the other, long before its pulse', async () => {
    const create = () => here.engine.createExecutions({ executions: [{ type: 'wake' }] });
    const claim = (wait: number) => there.engine.claimExecutions({ types: ['wake'], worker, wait: seconds(wait) });
    await create();
    expect((await claim(5)).claims).toHaveLength(1);
    const took: number[] = [];
    for (let i = 0; i < 9; i++) {
      const waiting = claim(20);
      await there.engine.claimExecutions({ types: ['nothing'], worker }); // by now the other stands in line
      const started = performance.now();
      await create();
      expect((await waiting).claims).toHaveLength(1);
      took.push(performance.now() - started);
    }
    // Most may fall on busy moments of the machine; whoever needs the pulse comes right after one, which is once a second.
    expect(took.sort((a, b) => a - b)[2]).toBeLessThan(500);
  });

  test('what one ends is seen by a watch and a wait at the other', async () => {
    const watch = there.completion.watchCompletions({ start: StartPosition.LATEST })[Symbol.asyncIterator]();
    await watch.next();
    const { results } = await here.engine.createExecutions({ executions: [{ type: 'seen' }] });
    const executionId = results[0]?.result.case === 'ok' ? results[0].result.value.executionId : '';
    const waiting = there.completion.awaitExecutions({ executionIds: [executionId], timeout: seconds(10) });
    const { claims } = await here.engine.claimExecutions({ types: ['seen'], worker, wait: seconds(5) });
    const { executionId: of = '', leaseId = '', fencingToken = 0n } = claims[0]?.lease ?? {};
    await here.engine.completeExecutions({ completions: [{ lease: { executionId: of, leaseId, fencingToken } }] });
    expect((await waiting).executions[0]?.outcome?.state).toBe(ExecutionState.SUCCEEDED);
    const seen: string[] = [];
    while (seen.length === 0) {
      for (const entry of (await watch.next()).value?.entries ?? []) seen.push(entry.executionId);
    }
    expect(seen).toEqual([executionId]);
    await watch.return?.();
  });

  test('a namespace that one has just made is known to the other, and so are its classes', async () => {
    for (let round = 0; round < 5; round++) {
      const namespace = `young ${round}`;
      const { held, queued, type, lane, cursor } = await makeEstate(here, namespace, `young${round}`);
      const renewed = await there.engine.renewLeases({ namespace, renewals: [{ lease: held }] });
      expect(renewed.results[0]?.result.case).toBe('ok');
      const { claim } = await there.engine.claimExecution({ namespace, executionId: queued, worker });
      expect(claim).toMatchObject({ executionId: queued, type, lane });
      const watch = there.completion.watchCompletions({ namespace, cursor })[Symbol.asyncIterator]();
      expect((await watch.next()).value?.heartbeat).toBeDefined();
      await watch.return?.();
    }
  });

  test('a lane that one pauses hands out nothing at the other', async () => {
    const lane = 'shared';
    await here.engine.createExecutions({ executions: [{ type: 'held', lane }] });
    await there.engine.claimExecutions({ lanes: [{ lane }], types: ['nothing'], worker });
    await here.admin.pauseLane({ lane });
    const ask = { lanes: [{ lane }], worker, types: ['held'] };
    expect((await there.engine.claimExecutions(ask)).claims).toEqual([]);
    const waiting = there.engine.claimExecutions({ ...ask, wait: seconds(10) });
    await here.admin.resumeLane({ lane });
    expect((await waiting).claims).toHaveLength(1);
  });
});
