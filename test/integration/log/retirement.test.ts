/** Partitions of the log that are dropped: when, what stays, and what becomes of it with others at work. */
import pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Database } from '../../../src/repository/database.js';
import { ensureLogPartitions, positionOf, readLog, readLogHead, stepLog } from '../../../src/repository/log/index.js';
import {
  closeLogPartition,
  cutLog,
  dropLogPartition,
  logHolds,
  logPartitionsDue,
  raiseLogFloors,
  sweepLogRuns,
} from '../../../src/repository/retention/index.js';
import { eventually } from '../../support/eventually.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';

let database: TestDatabase;
let log: Database;
let client: pg.Client;
const others: pg.Client[] = [];

beforeEach(async () => {
  database = await freshDatabase();
  log = new Database({ url: database.url, schema: database.schema, connections: 2 });
  client = await connect();
});

afterEach(async () => {
  await log.close();
  await Promise.all(others.splice(0).map((other) => other.end()));
  await database.drop();
});

async function connect(): Promise<pg.Client> {
  const made = new pg.Client({ connectionString: database.url, options: '-c lock_timeout=20s' });
  await made.connect();
  others.push(made);
  return made;
}

const APPEND = `select tailrace.append_log(array_fill(1, array[n]), array_fill(1::smallint, array[n]),
  array_fill(null::uuid, array[n]), array_fill(null::uuid, array[n]), array_fill(null::int, array[n]),
  array_fill(null::smallint, array[n]), array_fill(3::smallint, array[n]), array_fill(null::int, array[n]),
  array_fill($2::text, array[n]))::text as seq from (select $1::int as n) counted`;

async function append(n = 1, body = '{}', by = client): Promise<bigint> {
  const { rows } = await by.query<{ seq: string }>(APPEND, [n, body]);
  return BigInt(rows[0]?.seq ?? 0);
}

async function step(): Promise<number> {
  const done = await stepLog(log, 100);
  if (done.busy) throw new Error('nobody else should be stepping');
  return done.openHoles;
}

/** The next partition begins with what comes next. */
async function cut(): Promise<void> {
  await eventually(async () => await cutLog(log, 1));
}

/** Everything drawn so far is numbered or known to be rolled back. */
async function settle(): Promise<void> {
  await eventually(async () => {
    await append();
    return (await step()) === 0;
  });
}

async function closeAll(): Promise<number> {
  let closed = 0;
  for (let more = true; more; ) {
    const done = await closeLogPartition(log, 2);
    closed += Number(done.closed);
    ({ more } = done);
  }
  return closed;
}

/** Everything recorded up to now is over for this namespace. */
async function pass(namespace = 1): Promise<void> {
  await client.query('update tailrace.namespace set log_floor_at = clock_timestamp() where id = $1', [namespace]);
  await client.query('update tailrace.counted set position = (select head from tailrace.log_head())');
  await raiseLogFloors(log);
}

async function positions(): Promise<bigint[]> {
  const { floor } = await readLogHead(log);
  return (await readLog(log, floor + 1n, 10_000)).map(({ position }) => position);
}

test('a partition goes as a whole, and positions go on without a gap', async () => {
  await append(3);
  await append(2, JSON.stringify('x'.repeat(3_000)));
  await step();
  await cut();
  expect(await closeAll()).toBe(0); // nothing is numbered behind it yet
  await append(4);
  await step();
  // The jump of the sequence is a hole until everybody who could have drawn in it is gone.
  await settle();
  expect(await closeAll()).toBe(1);
  expect((await dropLogPartition(log)).verdict).toBe('none');
  const before = await readLog(log, 1n, 100);
  await pass();
  const due = await logPartitionsDue(log);
  const dropped = await dropLogPartition(log);
  expect(dropped).toMatchObject({ verdict: 'dropped', entries: 5 });
  expect(due).toMatchObject({ partitions: 1, entries: 5, bytes: dropped.bytes });
  expect(dropped.bytes).toBeGreaterThan(0);
  const { floor, head } = await readLogHead(log);
  expect(floor).toBe(5n);
  expect(await readLog(log, 6n, 100)).toEqual(before.slice(5));
  expect(await sweepLogRuns(log, 100)).toBe(1);
  expect(await readLog(log, 6n, 100)).toEqual(before.slice(5));
  await append();
  await step();
  expect((await readLogHead(log)).head).toBe(head + 1n);
  expect(await positions()).toEqual(Array.from({ length: Number(head - 4n) }, (_, i) => BigInt(i) + 6n));
});

test('a run that reaches over the end of a partition is cut there: its entries keep their positions', async () => {
  const seqs = [await append(2), await append(3)];
  await cut();
  seqs.push(await append(5), await append(1));
  await step(); // one run for all four
  const before = await readLog(log, 1n, 100);
  await settle();
  // Whoever reads the past stands in the part that gets a base of its own.
  await client.query(
    `insert into tailrace.subscription (namespace, name, since, state, class, spec, past_from, past_base, past_seq, ordered,
       key_source, dead_head, created_at, changed_at)
     values (1, 'reads', 1, 2, 1, '{}', 0, 1, $1, true, 1, 1, now(), now())`,
    [seqs[2]],
  );
  await closeAll();
  const reads = await client.query('select past_base::int as base from tailrace.subscription');
  expect(reads.rows).toEqual([{ base: 6 }]);
  await client.query('update tailrace.subscription set state = 1, past_from = null');
  const runs = await client.query('select base::int, n from tailrace.log_run order by base limit 2');
  expect(runs.rows).toEqual([
    { base: 1, n: 5 },
    { base: 6, n: 6 },
  ]);
  expect((await readLog(log, 1n, 100)).slice(0, 11)).toEqual(before);
  await pass();
  expect((await dropLogPartition(log)).verdict).toBe('dropped');
  expect((await readLog(log, 6n, 100)).slice(0, 6)).toEqual(before.slice(5));
  expect(await positionOf(log, seqs[3] ?? 0n)).toBe(11n);
});

test('a run is cut at the end of a partition also where what came late behind that end has a run of its own', async () => {
  await append(2);
  await cut();
  const slow = await connect();
  await slow.query('begin');
  const late = await append(3, '{}', slow);
  await append(5);
  await step(); // one run over the end, with a hole behind it
  await slow.query('commit');
  await settle();
  expect(await positionOf(log, late)).toBe(8n);
  const before = await readLog(log, 1n, 100);
  expect(await closeAll()).toBe(1);
  const { rows } = await client.query('select last_position::int from tailrace.log_partition where lo = 1');
  expect(rows).toEqual([{ last_position: 2 }]);
  await pass();
  expect(await dropLogPartition(log)).toMatchObject({ verdict: 'dropped', entries: 2 });
  expect(await readLog(log, 3n, 100)).toEqual(before.slice(2));
  expect(await positionOf(log, late)).toBe(8n);
});

test('what is not numbered yet, and who may still commit, keeps a partition; a late one moves the floor', async () => {
  await append(2);
  const slow = await connect();
  await slow.query('begin');
  const late = await append(3, '{}', slow);
  await slow.query('savepoint s'); // keeps the lock of the sequence
  // Whoever has drawn and not ended is waited for by the cut.
  expect(await cutLog(log, 1)).toBe(false);
  await client.query(
    `insert into tailrace.log_partition (lo, hi) select lo, ${late + 1n} from tailrace.log_partition where lo = 1
     on conflict (lo) do update set hi = excluded.hi`,
  );
  await client.query(`update tailrace.log_partition set lo = ${late + 1n} where lo = (
    select min(lo) from tailrace.log_partition where lo > 1)`);
  for (let i = 0; i < 3; i++) await append(2);
  await step();
  expect(await closeAll()).toBe(0);
  await slow.query('commit');
  await settle();
  expect(await positionOf(log, late)).toBe(9n);
  expect(await closeAll()).toBe(1);
  const { rows } = await client.query('select last_position::int from tailrace.log_partition where lo = 1');
  expect(rows).toEqual([{ last_position: 11 }]);
});

test('a little used partition ends after a sixth of what is kept', async () => {
  await append();
  await step();
  expect(await cutLog(log, 1_000)).toBe(false);
  await client.query(`update tailrace.namespace set log_floor_at = clock_timestamp() - interval '1 h'`);
  expect(await cutLog(log, 1_000)).toBe(false);
  await client.query(`update tailrace.namespace set log_floor_at = clock_timestamp() - interval '1 ms'`);
  await eventually(async () => await cutLog(log, 1_000));
  expect(await cutLog(log, 1_000)).toBe(false); // the new one is empty
  await ensureLogPartitions(log, 1_000);
  expect(await append()).toBe(10_000_001n);
});

test('the counts, the router and readers of the past keep what they need, and say so', async () => {
  await append(4);
  await step();
  await cut();
  await settle();
  await closeAll();
  await pass();
  const head = async () => (await readLogHead(log)).head;
  await client.query('update tailrace.counted set position = 1');
  expect((await dropLogPartition(log)).verdict).toBe('held');
  const [counts] = await logHolds(log);
  expect(counts).toMatchObject({ subject: 'log', holder: 'the counts of executions', count: Number(await head()) - 1 });
  expect(counts?.since).toBeInstanceOf(Date);
  await client.query('update tailrace.counted set position = 4');
  await client.query(`insert into tailrace.unrouted (event, subscription, seq, idx, flow)
    values (gen_random_uuid(), 0, 1, 1, gen_random_uuid())`);
  expect((await dropLogPartition(log)).verdict).toBe('held');
  expect(await logHolds(log)).toMatchObject([{ holder: 'the router', count: 1 }]);
  await client.query('delete from tailrace.unrouted');
  await client.query(`insert into tailrace.subscription (namespace, name, since, state, class, spec, past_from, created_at, changed_at)
    values (1, 'late', 1, 2, 1, '{}', 2, now(), now())`);
  expect((await dropLogPartition(log)).verdict).toBe('held');
  expect(await logHolds(log)).toMatchObject([
    { holder: 'subscription late reads the past', namespace: 'default', count: 2 },
  ]);
  await client.query('update tailrace.subscription set past_from = null, state = 1');
  expect(await logHolds(log)).toEqual([]);
  expect((await dropLogPartition(log)).verdict).toBe('dropped');
});

test('a reader that takes its time is told, and is not waited for by anybody', async () => {
  await append();
  await step();
  await cut();
  await settle();
  await closeAll();
  await pass();
  const reader = await connect();
  await reader.query(`begin; set local application_name = 'a backup'; select from tailrace.log limit 1`);
  expect(['busy', 'held']).toContain((await dropLogPartition(log)).verdict);
  await eventually(async () => (await dropLogPartition(log)).verdict === 'held');
  expect(await logHolds(log)).toMatchObject([{ holder: expect.stringMatching(/^a backup \(process \d+/) }]);
  await append(); // nobody stands in line before it
  await reader.query('commit');
  expect((await dropLogPartition(log)).verdict).toBe('dropped');
});

test('of two at once one drops, and one that dies leaves everything as it was', async () => {
  await append(2);
  await step();
  await cut();
  await settle();
  await closeAll();
  await pass();
  const dying = await connect();
  await dying.query('begin');
  expect((await dying.query('select verdict from tailrace.drop_log_partition()')).rows).toEqual([
    { verdict: 'dropped' },
  ]);
  expect((await dropLogPartition(log)).verdict).toBe('busy');
  const before = (await connect()).query('select count(*)::int as n from tailrace.log');
  await dying.query('rollback');
  expect((await before).rows[0]).toMatchObject({ n: expect.any(Number) });
  expect((await readLogHead(log)).floor).toBe(0n);
  expect(await readLog(log, 1n, 2)).toHaveLength(2);
  const both = await Promise.all([dropLogPartition(log), dropLogPartition(log)]);
  expect(both.filter(({ verdict }) => verdict === 'dropped')).toHaveLength(1);
});
