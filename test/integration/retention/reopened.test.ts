/** A flow that goes on again while what it has behind it goes: it comes back, or is told to be gone. */
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.js';
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

const FLOWS = 300;
const MEMBERS = 4;
const SCANNED = `select coalesce(sum(seq_tup_read), 0)::int as n from pg_stat_xact_user_tables
  where schemaname = 'tailrace' and relname in ('flow', 'execution_' || $1)`;

test('members of a flow that goes on come back before the drop, and nothing else is read for it', async () => {
  await client.query(`
    update namespace set floor_at = now() + interval '1 year', keep_executions_ms = 1000;
    insert into flow (id, namespace, began, created_at, settled_at, state)
      select md5(g::text)::uuid, 1, true, now(), now(), 2 from generate_series(1, ${FLOWS}) g;
    insert into execution (id, namespace, class, priority, created_at, flow)
      select (left(uuid_at(p.from_ms + 1)::text, 24) || lpad(to_hex(g), 12, '0'))::uuid, 1, 1, 0, now(),
        md5((1 + g / ${MEMBERS})::text)::uuid
      from (select min(from_ms) as from_ms from execution_partition) p, generate_series(0, ${FLOWS * MEMBERS - 1}) g;
    insert into outcome (execution, namespace, class, state, ended_at, attempt)
      select e.id, 1, 1, 7, now(), 1 from execution e;
    analyze execution; analyze flow`);
  const did: string[] = [];
  const step = async (): Promise<string> => {
    const { rows } = await client.query<{ did: string }>(
      `select did from retire_step('executions', 1, 10000, '{}', 2000, 1000000, 1000000)`,
    );
    did.push(rows[0]?.did ?? '');
    return did.at(-1) ?? '';
  };
  expect(await step()).toBe('swapped');
  await client.query(`update flow set settled_at = null, state = 1 where id = md5('7')::uuid`);
  await client.query('begin');
  const { rows: gone } = await client.query<{ suffix: string }>(
    `select dropping[1] as suffix from retirement where subject = 'executions'`,
  );
  expect(await step()).toBe('dropped');
  const { rows: scanned } = await client.query<{ n: number }>(SCANNED, [gone[0]?.suffix]);
  await client.query('commit');
  expect(scanned).toEqual([{ n: 0 }]);
  const { rows: back } = await client.query(
    `select count(*)::int as n, bool_and(flow = md5('7')::uuid) as its from execution`,
  );
  expect(back).toEqual([{ n: MEMBERS, its: true }]);
  const { rows: retired } = await client.query('select sum(n)::int as n from retired');
  expect(retired).toEqual([{ n: (FLOWS - 1) * MEMBERS }]);
});

test('who puts an edge on what is being forgotten is told that it is gone', async () => {
  const flow = '00000000-0000-7000-8000-0000000000f1';
  const { rows: made } = await client.query<{ id: string }>(
    `insert into execution (id, namespace, class, priority, created_at, flow)
       select uuid_at(r.frontier_ms - 1), 1, 1, 0, now(), $1 from retirement r where r.subject = 'executions' returning id`,
    [flow],
  );
  await client.query(`
    update namespace set floor_at = now() + interval '1 year', keep_executions_ms = 1000;
    insert into outcome (execution, namespace, class, state, ended_at, attempt) select e.id, 1, 1, 7, now(), 1 from execution e;
    insert into flow (id, namespace, began, created_at, settled_at, state) values ('${flow}', 1, true, now(), now(), 2)`);
  const other = new pg.Client({ connectionString: database.url, options: '-c lock_timeout=20s' });
  await other.connect();
  try {
    const { rows: backend } = await other.query<{ pid: number }>('select pg_backend_pid() as pid');
    await client.query('begin');
    const { rows: forgotten } = await client.query<{ rows: string }>(
      `select rows from forget_kept('executions', 100, 0)`,
    );
    expect(forgotten).toEqual([{ rows: '2' }]);
    const asked = other.query<{ verdict: string }>(
      `select verdict from tailrace.begin_extension(1, $1, null, null, 0, 0, array[$2]::uuid[], '{}', '[]', '{}', false, 1,
         1000, 1000, null, null, null)`,
      [flow, made[0]?.id],
    );
    await eventually(async () => {
      const { rows } = await client.query<{ waits: boolean }>(
        'select exists (select from pg_locks where not granted and pid = $1) as waits',
        [backend[0]?.pid],
      );
      return rows[0]?.waits ?? false;
    });
    await client.query('commit');
    expect((await asked).rows).toEqual([{ verdict: 'unknown' }]);
  } finally {
    await other.end();
  }
});
