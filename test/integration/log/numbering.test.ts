/** The log's tables and functions one by one: what is appended, numbered, found again, and stored where. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Database } from '../../../src/repository/database.js';
import {
  ensureLogPartitions,
  type HistoryPlace,
  type LogEntry,
  positionOf,
  readFlowNames,
  readFlowStandings,
  readHistory,
  readLog,
  readLogHead,
  stepLog,
} from '../../../src/repository/log/index.js';
import { eventually } from '../../support/eventually.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';

let database: TestDatabase;
let log: Database;
const clients: pg.Client[] = [];

beforeAll(async () => {
  database = await freshDatabase();
  log = new Database({ url: database.url, schema: database.schema, connections: 2 });
  log.onMissingPartition = async () => void (await ensureLogPartitions(log, 1_000));
});

afterAll(async () => {
  await log.close();
  await Promise.all(clients.map((client) => client.end()));
  await database.drop();
});

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  clients.push(client);
  return client;
}

const APPEND = `select tailrace.append_log(array_fill(1, array[n]), array_fill(1::smallint, array[n]), $1::uuid[], $2::uuid[],
  array_fill(null::int, array[n]), array_fill(null::smallint, array[n]), array_fill(3::smallint, array[n]),
  array_fill(null::int, array[n]), $3::text[])::text as seq from (select cardinality($3::text[]) as n) counted`;

async function append(
  client: pg.Client,
  bodies: (string | null)[],
  executions: (string | null)[] = [],
): Promise<bigint> {
  const ids = bodies.map((_, i) => executions[i] ?? null);
  const { rows } = await client.query<{ seq: string }>(APPEND, [ids, bodies.map(() => null), bodies]);
  return BigInt(rows[0]?.seq ?? 0);
}

async function step() {
  const step = await stepLog(log, 100);
  if (step.busy) throw new Error('nobody else should be stepping');
  return step;
}

/** A hole that rolled back stays while any transaction of the cluster is older than it, also one of another database. */
async function closeHoles(client: pg.Client): Promise<void> {
  await eventually(async () => {
    await append(client, ['closes holes']);
    return (await step()).openHoles === 0;
  });
}

const A = '00000000-0000-7000-8000-00000000000a';
const B = '00000000-0000-7000-8000-00000000000b';

test('bodies over 2 KiB stand beside the log and come back with it', async () => {
  const client = await connect();
  const large = JSON.stringify('x'.repeat(3_000));
  const seq = await append(client, ['{}', large, null]);
  const { head } = await step();
  const entries = (await readLog(log, head - 2n, 10)).map(({ body }) => body);
  expect(entries).toEqual(['{}', large, null]);
  const { rows } = await client.query('select idx from tailrace.log_body where seq = $1', [seq.toString()]);
  expect(rows).toEqual([{ idx: 2 }]);
});

test('rows whose arrays differ in length are refused, for they could never be read', async () => {
  const client = await connect();
  await expect(client.query(APPEND, [[A, B], [null], ['{}']])).rejects.toMatchObject({ code: '23514' });
});

test('a late row gets the next position; nobody waits for it', async () => {
  const [late, other] = [await connect(), await connect()];
  await closeHoles(other);
  const { head } = await readLogHead(log);
  await late.query('begin');
  const lateSeq = await append(late, ['late']);
  const first = await append(other, ['first', 'second']);
  expect(await step()).toMatchObject({ numbered: 2, openHoles: 1 });
  expect(await positionOf(log, lateSeq)).toBeUndefined();
  await late.query('commit');
  const third = await append(other, ['third']);
  expect(await step()).toMatchObject({ numbered: 2, head: head + 4n, openHoles: 0 });
  expect((await readLog(log, head + 1n, 10)).map(({ body }) => body)).toEqual(['first', 'second', 'late', 'third']);
  expect(await Promise.all([first, lateSeq, third].map((seq) => positionOf(log, seq)))).toEqual(
    [1n, 3n, 4n].map((n) => head + n),
  );
});

test('a rolled back row leaves no position, and its hole goes when all older transactions have ended', async () => {
  const [gone, other] = [await connect(), await connect()];
  await closeHoles(other);
  await gone.query('begin');
  await append(gone, ['gone']);
  await gone.query('rollback');
  await append(other, ['stays']);
  expect(await step()).toMatchObject({ numbered: 1, openHoles: 1 });
  await closeHoles(other);
});

test('a hole from another cluster, restored from a dump, is dropped', async () => {
  const client = await connect();
  await closeHoles(client);
  const { head } = await step();
  await client.query(
    `insert into tailrace.log_run select $1, 1, top + 1, top + 1, top + 2, array[int8range(top + 2, top + 3)], array['9000000000000'::xid8]
     from tailrace.log_run order by base desc limit 1`,
    [(head + 1n).toString()],
  );
  await client.query(`select nextval('tailrace.log_seq'), nextval('tailrace.log_seq')`);
  await append(client, ['after the restore']);
  expect(await step()).toMatchObject({ numbered: 1, openHoles: 0 });
});

test('while another session steps, a step says busy and changes nothing', async () => {
  const other = await connect();
  await append(other, ['waits']);
  await other.query('begin');
  await other.query('select * from tailrace.log_step(10)');
  expect(await stepLog(log, 10)).toEqual({ busy: true });
  await other.query('rollback');
  expect(await step()).toMatchObject({ numbered: 1 });
});

test('a step refuses a snapshot that is older than its lock', async () => {
  const client = await connect();
  await client.query('begin isolation level repeatable read');
  await expect(client.query('select * from tailrace.log_step(10)')).rejects.toThrow('read committed');
  await client.query('rollback');
});

test('a step does no more than its limit, and says that there is more', async () => {
  const client = await connect();
  for (let i = 0; i < 5; i++) await append(client, [`limit ${i}`]);
  expect(await stepLog(log, 3)).toMatchObject({ numbered: 3, more: true });
  expect(await stepLog(log, 3)).toMatchObject({ numbered: 2, more: false });
});

describe('the history of one execution', () => {
  test('comes in pages, from either end', async () => {
    const client = await connect();
    for (let i = 0; i < 5; i++) await append(client, [`a${i}`, `b${i}`, `A${i}`], [A, B, A]);
    await step();
    const forward = await readHistory(log, { of: A, limit: 3 });
    expect(forward.entries.map(({ body }) => body)).toEqual(['a0', 'A0', 'a1', 'A1', 'a2', 'A2']);
    const from = forward.next && { from: forward.next };
    const rest = await readHistory(log, { of: A, limit: 3, ...from });
    expect(rest.entries.map(({ body }) => body)).toEqual(['a3', 'A3', 'a4', 'A4']);
    expect(rest.next).toBeUndefined();
    const newest = await readHistory(log, { of: B, limit: 2, newestFirst: true });
    expect(newest.entries.map(({ body }) => body)).toEqual(['b4', 'b3']);
    const read = await readLog(log, newest.entries[0]?.position ?? 0n, 1);
    expect(read[0]).toEqual(newest.entries[0]);
  });

  test('finds an execution inside its flow', async () => {
    const client = await connect();
    const flow = '00000000-0000-7000-8000-0000000000f1';
    await client.query(APPEND, [
      [A, B, null],
      [flow, flow, flow],
      ['in a', 'in b', 'flow'],
    ]);
    await step();
    const all = await readHistory(log, { of: flow, limit: 10 });
    expect(all.entries.map(({ body }) => body)).toEqual(['in a', 'in b', 'flow']);
    const one = await readHistory(log, { of: flow, execution: B, limit: 10 });
    expect(one.entries.map(({ body }) => body)).toEqual(['in b']);
  });
});

describe('the history of one flow', () => {
  const flow = '00000000-0000-7000-8000-0000000000f2';

  const speak = async (client: pg.Client, bodies: string[], execution = A) => {
    const ids = bodies.map(() => execution);
    await client.query(APPEND, [ids, bodies.map(() => flow), bodies]);
  };

  async function pages(limit: number, asked: { newestFirst?: boolean; execution?: string } = {}): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    let next: HistoryPlace | undefined;
    do {
      const page = await readHistory(log, { of: flow, limit, ...asked, ...(next && { from: next }) });
      entries.push(...page.entries);
      ({ next } = page);
    } while (next !== undefined);
    return entries;
  }

  test('comes in the order of positions, from either end, however late a transaction was', async () => {
    const [other, early, later] = [await connect(), await connect(), await connect()];
    const { head } = await readLogHead(log);
    await speak(other, ['1', '2']);
    await step();
    await early.query('begin');
    await speak(early, ['early'], B);
    for (const body of ['3', '4', '5']) await speak(other, [body]);
    await step();
    await later.query('begin');
    await speak(later, ['later', 'latest'], B);
    for (const body of ['6', '7']) await speak(other, [body]);
    await append(other, ['of nobody']);
    await step();
    await early.query('commit');
    await step();
    for (const body of ['8', '9']) await speak(other, [body]);
    await step();
    await later.query('commit');
    await speak(other, ['10']);
    await step();

    const read = (await readLog(log, head + 1n, 100)).filter((entry) => entry.flow === flow);
    expect(read.map(({ body }) => body)).toEqual([
      '1',
      '2',
      '3',
      '4',
      '5',
      '6',
      '7',
      'early',
      '8',
      '9',
      'later',
      'latest',
      '10',
    ]);
    for (const limit of [1, 2, 3, 4, 5, 8, 13, 50]) {
      expect(await pages(limit)).toEqual(read);
      expect(await pages(limit, { newestFirst: true })).toEqual([...read].reverse());
      const own = read.filter(({ execution }) => execution === B);
      expect(await pages(limit, { execution: B })).toEqual(own);
      expect(await pages(limit, { execution: B, newestFirst: true })).toEqual(own.reverse());
    }
    for (const { position } of read) {
      const behind = await readHistory(log, { of: flow, limit: 50, from: { position: position + 1n, afterSeq: 0n } });
      expect(behind.entries).toEqual(read.filter((entry) => entry.position > position));
      const from = { position: position - 1n, afterSeq: 0n };
      for (const limit of [1, 50]) {
        const before = await readHistory(log, { of: flow, limit, from, newestFirst: true });
        expect(before.entries.every((entry) => entry.position < position)).toBe(true);
        expect(before.next === undefined || before.next.position < position).toBe(true);
      }
    }
  });

  test('tells where it stands: nothing lies behind the position of its last entry', async () => {
    const client = await connect();
    const id = '00000000-0000-7000-8000-0000000000f3';
    await client.query(
      `insert into tailrace.flow (id, namespace, began, created_at, name, tags) values ($1, 1, true, now(), 'f', '{"a":"b"}')`,
      [id],
    );
    expect(await readFlowStandings(log, [id, A])).toMatchObject([{ id, namespace: 1, state: 1, lastPosition: 0n }]);
    await client.query(APPEND, [
      [A, B, A],
      [id, id, null],
      ['first', 'second', 'of nobody'],
    ]);
    expect(await readFlowStandings(log, [id])).toMatchObject([{ settledAt: null, lastPosition: undefined }]);
    const { head } = await step();
    expect(await readFlowStandings(log, [id])).toMatchObject([{ head, lastPosition: head - 1n }]);
    expect(await readFlowNames(log, [id, A])).toEqual([{ id, name: 'f', tags: { a: 'b' } }]);
  });
});

test('partitions: two are always ahead, and a writer that finds none makes them', async () => {
  const client = await connect();
  const { rows } = await client.query<{ hi: string }>('select max(hi) as hi from tailrace.log_partition');
  await client.query(`select setval('tailrace.log_seq', $1)`, [rows[0]?.hi]);
  await expect(append(client, ['lost'])).rejects.toMatchObject({ code: '23514' });
  await log.query(
    {
      name: 'test.append',
      text: `select {schema}.append_log('{1}', '{1}', '{null}', '{null}', '{null}', '{null}', '{3}', '{null}', '{"found"}')`,
    },
    [],
  );
  const made = await client.query<{ ahead: string }>(
    'select count(*) as ahead from tailrace.log_partition, tailrace.log_seq where lo > last_value',
  );
  expect(made.rows[0]?.ahead).toBe('2');
  expect(await ensureLogPartitions(log, 1_000)).toBe(0);
  const { head } = await step();
  expect((await readLog(log, head, 1))[0]?.body).toBe('found');
});

test('many at once make the partitions once', async () => {
  const client = await connect();
  await client.query(`select setval('tailrace.log_seq', max(hi)) from tailrace.log_partition`);
  const made = await Promise.all(Array.from({ length: 8 }, () => ensureLogPartitions(log, 1_000)));
  expect(made.reduce((sum, n) => sum + n, 0)).toBe(3);
});
