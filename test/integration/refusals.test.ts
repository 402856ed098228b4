/** Who shows a wrong lease is told what is wrong with it, and holds nobody up; who names a moving execution gets it. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EndCall } from '../../src/domain/states.js';
import { claimExecution } from '../../src/repository/claims/index.js';
import { Database } from '../../src/repository/database.js';
import { endAttempts, renewLeases } from '../../src/repository/leases/index.js';
import { changeExecution } from '../../src/repository/operations/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { statement } from '../../src/repository/statement.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { addExecutions, endingOf, heldBy, takeLeases } from '../support/direct.js';
import { eventually } from '../support/eventually.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const waiting = statement(
  'test.waiting',
  `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
);

let fresh: TestDatabase;
let database: Database;
let line: { id: number; lane: number };
beforeAll(async () => {
  fresh = await freshDatabase();
  database = new Database({ url: fresh.url, schema: fresh.schema, connections: 4 });
  const [made] = await internClasses(database, [{ namespace: 1, lane: 'lane', type: 'type', capabilities: [] }]);
  line = made ?? line;
});
afterAll(async () => {
  await database.close();
  await fresh.drop();
});

async function held() {
  await addExecutions(database, 1, line.id);
  const [granted] = await takeLeases(database, 1, line);
  if (granted === undefined) throw new Error('nothing was granted');
  return granted;
}

test('a wrong token, a wrong lease and another namespace are three things', async () => {
  const granted = await held();
  const right = heldBy(granted);
  const shown = [
    { ...right, token: right.token + 1n },
    { ...right, lease: uuidV7() },
    { ...right, namespace: 2 },
    { ...right, execution: uuidV7() },
  ];
  const verdicts = [];
  for (const one of shown) {
    const [renewed] = await renewLeases(database, [{ ...one, leaseMs: null, progress: null }], true);
    const [ended] = await endAttempts(database, EndCall.COMPLETE, [{ ...endingOf(granted), ...one }]);
    expect(ended?.verdict).toBe(renewed?.verdict);
    verdicts.push(ended?.verdict);
  }
  expect(verdicts).toEqual(['superseded', 'superseded', 'not_found', 'not_found']);
  expect(await endAttempts(database, EndCall.COMPLETE, [endingOf(granted)])).toMatchObject([{ verdict: 'done' }]);
});

test('who does not know the lease cannot lock its row', async () => {
  const granted = await held();
  const stranger = new pg.Client({ connectionString: fresh.url });
  await stranger.connect();
  await stranger.query('begin');
  const { rows } = await stranger.query(
    `select verdict from ${fresh.schema}.renew(array[2], array[$1::uuid], array[$2::uuid], array[1::bigint], true,
       array[null::bigint], array[null::float8], array[null::text])`,
    [granted.execution, uuidV7()],
  );
  expect(rows).toEqual([{ verdict: 'not_found' }]);
  expect(await endAttempts(database, EndCall.COMPLETE, [endingOf(granted)])).toMatchObject([{ verdict: 'done' }]);
  await stranger.query('rollback');
  await stranger.end();
});

test('an execution that gets another place in line meanwhile is claimed all the same', async () => {
  const [made] = await addExecutions(database, 1, line.id);
  const execution = made?.execution ?? '';
  const holder = { namespace: 1, instance: 'tester', name: 'tester', leaseMs: 60_000, beginMs: null };
  const { claiming } = await database.transaction(async (runner) => {
    await changeExecution(runner, { namespace: 1, execution, priority: 7, runAt: null, actor: '', reason: '' });
    const waits = claimExecution(database, execution, [], holder);
    await eventually(async () => (await database.query(waiting)).length > 0);
    return { claiming: waits };
  });
  expect(await claiming).toMatchObject({ verdict: 'claimed', claim: { execution, priority: 7 } });
});
