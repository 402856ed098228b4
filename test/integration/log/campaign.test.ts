/**
 * The promise of the log under fire (proof 2): many writers with random commit delays and rollbacks, one that stays open
 * all the while, three sequencers whose backends are killed. Every reader sees the same, without gap, double or
 * inversion, and resuming from a cursor changes nothing.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ALL_NAMESPACES } from '../../../src/domain/cursor.js';
import { RecordFilter } from '../../../src/log/filter.js';
import { LiveLog, type WatchStart } from '../../../src/log/live-log.js';
import { DatabaseLogSource } from '../../../src/log/source.js';
import { Sequencer } from '../../../src/loops/sequencer.js';
import { Database } from '../../../src/repository/database.js';
import { readLogHead, stepLog } from '../../../src/repository/log/index.js';
import { pause } from '../../../src/runtime/clock.js';
import { Loop } from '../../../src/runtime/loop.js';
import { eventually } from '../../support/eventually.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';

const RUN_MS = 6_000;
const WRITERS = 30;
const SUBJECTS = 20;
const SEQUENCERS = 3;
const ROLLBACKS = 0.07;

let database: TestDatabase;
const opened: { end(): Promise<void> }[] = [];

beforeAll(async () => {
  database = await freshDatabase();
  const client = await connect();
  await client.query(`create table subject (id int primary key, n int not null);
    insert into subject select i, 0 from generate_series(1, ${SUBJECTS}) i`);
});

afterAll(async () => {
  await Promise.all(opened.map((one) => one.end()));
  await database.drop();
});

async function connect(name = 'campaign'): Promise<pg.Client> {
  const options = '-c lock_timeout=20s';
  const client = new pg.Client({ connectionString: database.url, application_name: name, options });
  client.on('error', () => undefined);
  await client.connect();
  opened.push(client);
  return client;
}

function pool(name: string): Database {
  const made = new Database({ url: database.url, schema: database.schema, connections: 2, name });
  opened.push({ end: () => made.close() });
  return made;
}

const APPEND = `select tailrace.append_log(array_agg(1), array_agg(1::smallint), array_agg(null::uuid),
    array_agg(lpad(s.id::text, 32, '0')::uuid order by s.id), array_agg(null::int), array_agg(null::smallint),
    array_agg(3::smallint), array_agg(null::int), array_agg(s.id || ':' || s.n order by s.id))
  from (select id, n from subject where id = any ($1)) s`;

/** Locks two subjects, counts them up, appends what it counted, and takes its time at every step. */
async function write(client: pg.Client, committed: Set<string>): Promise<void> {
  const ids = [1 + Math.floor(Math.random() * SUBJECTS), 1 + Math.floor(Math.random() * SUBJECTS)];
  const delay = () => client.query('select pg_sleep($1)', [Math.random() < 0.3 ? Math.random() * 0.02 : 0]);
  await client.query('begin');
  await delay();
  await client.query('select from subject where id = any ($1) order by id for update', [ids]);
  const counted = await client.query<{ id: number; n: number }>(
    'update subject set n = n + 1 where id = any ($1) returning id, n',
    [ids],
  );
  await delay();
  await client.query(APPEND, [ids]);
  await delay();
  if (Math.random() < ROLLBACKS) {
    await client.query('rollback');
    return;
  }
  await client.query('commit');
  for (const row of counted.rows) committed.add(`${row.id}:${row.n}`);
}

interface Reader {
  /** `position body`, in the order of arrival. */
  readonly lines: string[];
  wake(head?: bigint): void;
  done: Promise<void>;
}

/** Reads everything; every `hangUpAfter` lines it hangs up and goes on from its last cursor. */
function read(name: string, stop: AbortSignal, hangUpAfter = Number.POSITIVE_INFINITY): Reader {
  const live = new LiveLog(new DatabaseLogSource(pool(name), { pageEntries: 64 }));
  const lines: string[] = [];
  const filter = new RecordFilter({ namespace: ALL_NAMESPACES });
  const follow = async () => {
    let start: WatchStart = 'earliest';
    while (!stop.aborted) {
      let since = 0;
      for await (const message of live.watch({ namespace: ALL_NAMESPACES, start, filter }, stop)) {
        start = { cursor: message.cursor };
        lines.push(...message.records.map(({ entry }) => `${entry.position} ${entry.body}`));
        since += message.records.length;
        if (since >= hangUpAfter) break;
      }
    }
  };
  return { lines, wake: (head) => live.wake(head), done: follow() };
}

test('many writers, killed sequencers: no gap, no double, no inversion, the same for every reader', async () => {
  const stop = new AbortController();
  const woken = read('reader-woken', stop.signal);
  const sleepy = read('reader-sleepy', stop.signal, 100);
  const sequencers = Array.from({ length: SEQUENCERS }, () => {
    const runner = pool('sequencer');
    return new Sequencer({ runner, onHead: (head) => woken.wake(head), onError: () => undefined });
  });
  // All wake-ups of this reader are lost but the pulse.
  const body = async () => {
    sleepy.wake();
    return 1_000;
  };
  const pulse = new Loop({ name: 'pulse', body, onError: () => undefined });
  for (const loop of [...sequencers, pulse]) loop.start();

  const held = await connect();
  await held.query('begin');
  await held.query(APPEND.replace('s.id || ', `'held' || s.id || `), [[1]]);

  const committed = new Set<string>();
  let running = true;
  const writers = Array.from({ length: WRITERS }, async () => {
    const client = await connect();
    while (running) {
      await write(client, committed);
      sequencers[Math.floor(Math.random() * SEQUENCERS)]?.nudge();
    }
  });
  const killer = await connect();
  let killed = 0;
  const kill = async () => {
    while (running) {
      await killer.query('select pg_sleep(0.05)');
      const { rowCount } = await killer.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'sequencer' order by random() limit 1`,
      );
      killed += rowCount ?? 0;
    }
  };
  const killing = kill();
  await pause(RUN_MS);
  await eventually(() => killed > 20);
  running = false;
  await Promise.all([...writers, killing]);

  const probe = pool('probe');
  const settle = async () => {
    let settled = false;
    while (!settled) settled = !(await stepLog(probe, 100)).busy && !(await readLogHead(probe)).unnumbered;
    woken.wake();
    return (await readLogHead(probe)).head;
  };
  // Everybody's entries are there while one writer is still open; its own come after its commit.
  const before = await settle();
  expect(Number(before)).toBe(committed.size);
  await held.query('commit');
  const head = await settle();
  expect(head).toBe(before + 1n);
  await expect.poll(() => [woken.lines.length, sleepy.lines.length]).toEqual([Number(head), Number(head)]);
  stop.abort();
  await Promise.all([woken.done, sleepy.done, pulse.stop(), ...sequencers.map((loop) => loop.stop())]);

  expect(sleepy.lines.join('\n')).toBe(woken.lines.join('\n'));
  expect(woken.lines.map((line) => BigInt(line.split(' ')[0] ?? ''))).toEqual(
    Array.from({ length: Number(head) }, (_, i) => BigInt(i + 1)),
  );
  const bodies = woken.lines.map((line) => line.split(' ')[1] ?? '').filter((body) => !body.startsWith('held'));
  expect(new Set(bodies)).toEqual(committed);
  // A subject's counter rises under its lock, so its entries must come in that order, beginning with 1.
  const last = new Map<string, number>();
  for (const body of bodies) {
    const [id = '', n] = body.split(':');
    expect(Number(n), `subject ${id}`).toBe((last.get(id) ?? 0) + 1);
    last.set(id, Number(n));
  }
}, 60_000);
