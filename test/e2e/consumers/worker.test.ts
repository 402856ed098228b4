/** Consumers through the worker library: shared, kept over restarts of the server, and exact in transactions of their own. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ConsumerState, PoisonPolicy, SplitKey } from '../../../gen/tailrace/v1/consumer_pb.js';
import { DeadLetterResolution, DeadLetterState } from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { Client, Content, type LogEntry } from '../../../src/client/index.js';
import {
  type ConsumerHandler,
  type ConsumerOptions,
  inTransaction,
  Worker,
  type WorkerLog,
} from '../../../src/worker/index.js';
import { seconds } from '../../support/by-hand.js';
import { ConsumersByHand } from '../../support/consumers-by-hand.js';
import { eventually } from '../../support/eventually.js';
import { SqlClients } from '../../support/sql-clients.js';
import { startTailrace, type TestTailrace } from '../../support/tailrace.js';

let tailrace: TestTailrace;
let sql: SqlClients;
let client: Client;
let hand: ConsumersByHand;
let pool: pg.Pool;
const workers: Worker[] = [];
beforeAll(async () => {
  tailrace = await startTailrace();
  sql = await SqlClients.start(tailrace.database);
  client = new Client({ url: tailrace.url });
  hand = new ConsumersByHand(tailrace);
  const url = new URL(tailrace.database.url);
  url.username = url.password = sql.role;
  pool = new pg.Pool({ connectionString: url.href, max: 4 });
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop()));
  client.close();
  await pool.end();
  await sql.stop();
  await tailrace.running.stop();
  await tailrace.database.drop();
});

const quiet: WorkerLog = () => {};

async function follow(
  name: string,
  handler: ConsumerHandler,
  options: ConsumerOptions = {},
  log = quiet,
): Promise<Worker> {
  const worker = new Worker({ url: tailrace.url, log, drainMs: 20_000 }).consumer(name, handler, options);
  workers.push(worker);
  await worker.start();
  return worker;
}

const numberOf = ({ body }: LogEntry) =>
  new Content(body.case === 'event' ? body.value.payload : undefined).json<number>();
const streamOf = ({ body }: LogEntry) => (body.case === 'event' ? body.value.stream : '');
const publish = (type: string, stream: string, payload: unknown) => client.publish({ type, stream, payload });

async function ownersOf(consumer: string): Promise<string[]> {
  const { consumer: found } = await tailrace.admin.getConsumer({ consumer });
  return (found?.parts ?? []).map(({ ownerId }) => ownerId);
}

test('its parts are shared, taken over when one stops, and everything is handled in order', async () => {
  const filter = { eventTypes: ['shared'] };
  await hand.consumer('shared', { filter, partCount: 8, splitKey: SplitKey.STREAM });
  const handled: string[] = [];
  const handler = (entry: LogEntry) => void handled.push(`${streamOf(entry)} ${numberOf(entry)}`);
  const first = await follow('shared', handler);
  await eventually(async () => (await ownersOf('shared')).every((owner) => owner !== ''));
  await follow('shared', handler);
  const shares = async () => {
    const counted = new Map<string, number>();
    for (const owner of await ownersOf('shared')) counted.set(owner, (counted.get(owner) ?? 0) + 1);
    return [...counted.values()].join();
  };
  await eventually(async () => (await shares()) === '4,4');

  const streams = [...'abcdefghijkl'];
  const wanted = streams.flatMap((stream) => [1, 2, 3].map((n) => `${stream} ${n}`));
  let last = '';
  for (const n of [1, 2]) for (const stream of streams) await publish('shared', stream, n);
  await first.stop();
  for (const stream of streams) last = (await publish('shared', stream, 3)).cursor;
  expect(await client.awaitConsumer('shared', last, { timeoutMs: 20_000 })).toMatchObject({ done: true });
  expect([...handled].sort()).toEqual([...wanted].sort());
  for (const stream of streams) {
    expect(handled.filter((one) => one.startsWith(`${stream} `))).toEqual([1, 2, 3].map((n) => `${stream} ${n}`));
  }
});

test('proof 10, 13, 29: a handler that fails, in SQL or not, leaves nothing behind; its followers wait for it', async () => {
  await sql.transaction((query) => query('create table app.model (stream text, number int check (number <> 13))'));
  await hand.consumer('model', {
    filter: { eventTypes: ['counted'] },
    splitKey: SplitKey.STREAM,
    poisonPolicy: PoisonPolicy.PARK,
    maxTries: 2,
    initialBackoff: seconds(0.05),
  });
  const again: string[] = [];
  await follow(
    'model',
    inTransaction(pool, async (db, entries, { previousTries, deadLetterId }) => {
      for (const entry of entries) {
        const values = [streamOf(entry), numberOf(entry)];
        if (deadLetterId !== '') again.push(values.join(' '));
        const write = db.query('insert into app.model values ($1, $2 % 100)', values);
        // Once thrown on, and once kept from the engine.
        if (values[1] === 13 && previousTries === 1) await write.catch(() => undefined);
        else await write;
        if (values[1] === 7) throw new Error('after it was written');
      }
    }),
  );
  const model = async () => {
    const text = `select stream || ' ' || string_agg(number::text, ' ' order by ctid) as line from app.model
      group by stream order by stream`;
    return (await sql.transaction((query) => query<{ line: string }>(text))).map(({ line }) => line);
  };
  for (const [stream, ...numbers] of [
    ['a', 1, 13, 2],
    ['b', 7, 8],
    ['c', 1, 2, 3],
  ] as const) {
    for (const n of numbers) await publish('counted', stream, n);
  }
  const { cursor } = await publish('counted', 'd', 1);
  expect(await client.awaitConsumer('model', cursor, { timeoutMs: 20_000 })).toMatchObject({ done: true });
  expect(await model()).toEqual(['a 1', 'c 1 2 3', 'd 1']);

  const { deadLetters } = await tailrace.deadLetters.listDeadLetters({ filter: { consumers: ['model'] } });
  const heads = deadLetters.flatMap(({ deadLetterId, version, subject: { subject } = {} }) =>
    subject?.case === 'consumerEntry' && !subject.value.follower
      ? { deadLetterId, version, key: subject.value.key }
      : [],
  );
  expect(deadLetters).toHaveLength(4);
  expect(heads.map(({ key }) => key).sort()).toEqual(['stream:a', 'stream:b']);
  const [thirteen, seven] = heads.sort((one, other) => one.key.localeCompare(other.key));
  if (!thirteen || !seven) throw new Error('two heads');
  // One is given up for good, which lets its follower go on; the other is tried again, and fails once more.
  const { deadLetterId, version: expectedVersion } = thirteen;
  const unlucky = { deadLetters: [{ deadLetterId, expectedVersion }], resolution: DeadLetterResolution.IGNORED };
  await tailrace.deadLetters.resolveDeadLetters(unlucky);
  await eventually(async () => (await model())[0] === 'a 1 2');
  expect(again).toEqual(['a 2']);
  await tailrace.deadLetters.redriveDeadLetter({ deadLetterId: seven.deadLetterId, requestId: 'again' });
  await eventually(async () => {
    const { deadLetter } = await tailrace.deadLetters.getDeadLetter({ deadLetterId: seven.deadLetterId });
    return deadLetter?.state === DeadLetterState.OPEN && deadLetter.version > seven.version + 1n;
  });
  expect(again).toEqual(['a 2', 'b 7', 'b 7']);
  expect(await model()).toEqual(['a 1 2', 'c 1 2 3', 'd 1']);
});

test('a halted one is said to be, and goes on when it is resumed; so does a worker whose server was restarted', async () => {
  await hand.consumer('strict', { filter: { eventTypes: ['strict'] }, maxTries: 1 });
  const said: string[] = [];
  const handled: (number | undefined)[] = [];
  let broken = true;
  const handler = (entry: LogEntry) => {
    if (broken) throw new Error('not yet');
    handled.push(numberOf(entry));
  };
  await follow('strict', handler, {}, (level, message) => said.push(`${level}: ${message}`));
  await publish('strict', '', 1);
  await eventually(() => said.some((line) => line.startsWith('error: the consumer has halted')));
  broken = false;
  await tailrace.admin.resumeConsumer({ consumer: 'strict', reason: 'repaired' });
  await eventually(() => handled.length === 1);
  expect(said.at(-1)).toBe('info: the consumer goes on');

  const { port } = new URL(tailrace.url);
  await tailrace.running.stop();
  tailrace = await startTailrace({ database: tailrace.database, environment: { TAILRACE_PORT: port } });
  const { cursor } = await publish('strict', '', 2);
  expect(await client.awaitConsumer('strict', cursor, { timeoutMs: 20_000 })).toMatchObject({ done: true });
  expect(handled).toEqual([1, 2]);
  const { consumer } = await tailrace.admin.getConsumer({ consumer: 'strict' });
  expect(consumer?.state).toBe(ConsumerState.ACTIVE);
});
