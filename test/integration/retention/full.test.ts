/** A partition of which more is still needed than can be moved while everybody waits: it stays, and says so. */
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';

let database: TestDatabase;
let client: pg.Client;

beforeEach(async () => {
  database = await freshDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query('set search_path = tailrace');
});

afterEach(async () => {
  await client.end();
  await database.drop();
});

const FITS = 3;

async function step(): Promise<string> {
  const { rows } = await client.query<{ did: string }>(
    `select did from retire_step('executions', 8, 2, '{}', 2000, 1000000, ${FITS})`,
  );
  return rows[0]?.did ?? '';
}

async function untilIt(did: string): Promise<void> {
  for (let steps = 0; steps < 50; steps++) if ((await step()) === did) return;
  throw new Error(`it never came to ${did}`);
}

/** So many that have not ended, in the lowest partition. */
const open = (n: number) =>
  client.query(
    `insert into execution (id, namespace, class, priority, created_at)
       select (left(uuid_at(p.from_ms + 1)::text, 24) || lpad(to_hex(g), 12, '0'))::uuid, 1, 1, 0, now()
       from (select min(from_ms) as from_ms from execution_partition) p, generate_series(1, $1::int) g`,
    [n],
  );

test('stays where it is for a while, with what it waits for, and goes once less of it is needed', async () => {
  await client.query(`update namespace set floor_at = now() + interval '1 year', keep_executions_ms = 1000`);
  await open(FITS + 2);
  await untilIt('full');
  expect(await step()).toBe('full');
  const { rows } = await client.query(
    `select waits_for, most, to_ms, to_regclass('execution_staged') as staged from retirement where subject = 'executions'`,
  );
  expect(rows).toEqual([{ waits_for: expect.stringContaining('still needed'), most: 1, to_ms: null, staged: null }]);

  await client.query(`insert into outcome (execution, namespace, class, state, ended_at, attempt)
    select e.id, 1, 1, 7, now(), 1 from execution e order by e.id limit 2`);
  await client.query(`update retirement set full_until = now() - interval '1 second'`);
  await untilIt('swapped');
  await untilIt('dropped');
  const { rows: left } = await client.query('select count(*)::int as n from execution_kept');
  expect(left).toEqual([{ n: FITS }]);
});
