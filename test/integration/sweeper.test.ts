/** Sweepers meet what somebody else holds: they pass over it, look again now and then, and take it once it is free. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sweeper } from '../../src/loops/sweeper.js';
import { Database } from '../../src/repository/database.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { monotonicMs, pause, wallMs } from '../../src/runtime/clock.js';
import { addExecutions, takeLeases } from '../support/direct.js';
import { eventually } from '../support/eventually.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

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

const LONG_MS = 40 * 24 * 3_600_000;

test('what is due in forty days, longer than timers hold, costs nothing until then', async () => {
  await addExecutions(database, 1, line.id, { delayMs: LONG_MS, deadline: new Date(wallMs() + 2 * LONG_MS) });
  const sweeper = new Sweeper({ database, onSwept: () => undefined, onError: () => undefined });
  const before = database.sent;
  sweeper.start();
  for (const subject of ['scheduled', 'leases', 'timers'] as const) sweeper.hint(subject, LONG_MS);
  await pause(500);
  await sweeper.stop();
  expect(database.sent - before).toBeLessThanOrEqual(10);
});

test('a due row that is locked for long costs few statements, delays no other, and is taken when it is free', async () => {
  await addExecutions(database, 1, line.id, { delayMs: 1 });
  const holder = new pg.Client({ connectionString: fresh.url });
  await holder.connect();
  await holder.query('begin');
  expect(
    (await holder.query(`select 1 from ${fresh.schema}.scheduled where run_at < now() + interval '1 day' for update`))
      .rows,
  ).toHaveLength(1);
  let swept = 0;
  const errors: unknown[] = [];
  const sweeper = new Sweeper({
    database,
    onSwept: (_, taken) => {
      swept += taken;
    },
    onError: (_, error) => errors.push(error),
  });
  sweeper.start();
  // All have had their first look, and this row has been due for so long that somebody must hold it.
  await eventually(() => sweeper.meters.every(({ sweeps }) => sweeps > 0));
  await pause(100);
  const [before, fromMs] = [database.sent, monotonicMs()];
  await pause(1_000);
  const [sent, inMs] = [database.sent - before, monotonicMs() - fromMs]; // a loaded machine's second may be longer
  expect(sent).toBeLessThan(inMs / 50);
  expect(swept).toBe(0);

  await addExecutions(database, 1, line.id, { delayMs: 1 });
  sweeper.hint('scheduled', 1);
  await eventually(() => swept === 1);
  await holder.query('rollback');
  await holder.end();
  await eventually(() => swept === 2);
  await sweeper.stop();
  expect(await takeLeases(database, 5, line)).toHaveLength(2);
  expect(errors).toEqual([]);
});
