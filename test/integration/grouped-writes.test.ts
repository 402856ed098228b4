/** Proof 30 on a real Postgres: single calls that became one statement, and each gets the answer it would get alone. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ExecutionState } from '../../src/domain/states.js';
import { Database } from '../../src/repository/database.js';
import type { NewExecution } from '../../src/repository/executions/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { Writers } from '../../src/services/engine/writers.js';
import { endingOf, heldBy, newExecution, takeLeases } from '../support/direct.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const nothing = () => undefined;
const SILENT = { queued: nothing, freed: nothing, due: nothing, appended: nothing, committed: nothing };

let fresh: TestDatabase;
let database: Database;
let writers: Writers;
let line: { id: number; lane: number };
beforeAll(async () => {
  fresh = await freshDatabase();
  database = new Database({ url: fresh.url, schema: fresh.schema, connections: 4 });
  writers = new Writers(database, SILENT, 100_000);
  const [made] = await internClasses(database, [{ namespace: 1, lane: 'lane', type: 'type', capabilities: [] }]);
  line = made ?? line;
});
afterAll(async () => {
  await database.close();
  await fresh.drop();
});

const content = (text: string) => Buffer.from(text);
const item = (more: Partial<NewExecution>) => newExecution(line.id, more);
/** Each as a call of its own, all in one turn. */
const createEach = (items: readonly NewExecution[]) => Promise.allSettled(items.map((one) => writers.create([one])));

async function held(count: number) {
  await writers.create(Array.from({ length: count }, () => item({})));
  return await takeLeases(database, count, line);
}

test('proof 30: one violates, two are equal, two differ under one id: everybody gets their own answer', async () => {
  const before = database.sent;
  const alike = { requestId: 'same', hash: content('same') };
  const settled = await createEach([
    item({ requestId: 'first' }),
    item({ requestId: 'violates', priority: 5_000 }),
    item(alike),
    item(alike),
    item({ requestId: 'same', hash: content('other') }),
    item({ requestId: 'last' }),
  ]);
  expect(settled).toMatchObject([
    { value: [{ verdict: 'created' }] },
    { reason: { code: '23514' } },
    { value: [{ verdict: 'created' }] },
    { value: [{ verdict: 'duplicate' }] },
    { value: [{ verdict: 'reused' }] },
    { value: [{ verdict: 'created' }] },
  ]);
  const ids = settled.map((one) => (one.status === 'fulfilled' ? one.value[0]?.execution : undefined));
  expect(new Set([ids[2], ids[3], ids[4]]).size).toBe(1);
  expect(database.sent - before).toBeLessThan(12);
  expect(await takeLeases(database, 100, line)).toHaveLength(3);
});

test('proof 30: two callers chose one execution id under different request ids: the second is refused', async () => {
  const { id } = item({});
  const settled = await createEach([
    item({ id, requestId: 'one', hash: content('a') }),
    item({ id, requestId: 'other', hash: content('b') }),
    item({ requestId: 'beside' }),
  ]);
  expect(settled).toMatchObject([
    { value: [{ verdict: 'created', execution: id }] },
    { value: [{ verdict: 'reused', execution: id }] },
    { value: [{ verdict: 'created' }] },
  ]);
  // The refused request id was not used up.
  const again = await createEach([item({ requestId: 'other', hash: content('c') })]);
  expect(again).toMatchObject([{ value: [{ verdict: 'created' }] }]);
  await takeLeases(database, 100, line);
});

test('proof 30: equal request ids in many batches at once make one execution', async () => {
  const other = new Writers(database, SILENT, 100_000);
  const calls = Array.from({ length: 200 }, (_, i) =>
    (i % 2 === 0 ? writers : other).create([item({ requestId: `shared ${i % 7}`, hash: content('same') })]),
  );
  const answers = (await Promise.all(calls)).flat();
  expect(answers.filter(({ verdict }) => verdict === 'created')).toHaveLength(7);
  expect(answers.filter(({ verdict }) => verdict === 'duplicate')).toHaveLength(193);
  expect(new Set(answers.map(({ execution }) => execution)).size).toBe(7);
  expect(await takeLeases(database, 100, line)).toHaveLength(7);
});

test('proof 30: one lease ended twice, alike and otherwise, beside others', async () => {
  const [one, two, three] = await held(3);
  if (!one || !two || !three) throw new Error('three leases were expected');
  const end = (of: typeof one, hash: string) => writers.complete([endingOf(of, { hash: content(hash) })]);
  const answers = await Promise.all([end(one, 'a'), end(one, 'a'), end(one, 'b'), end(two, 'a'), end(three, 'a')]);
  // An execution that has ended says so; that is checked before who holds it.
  expect(answers.flat().map(({ verdict }) => verdict)).toEqual(['done', 'duplicate', 'terminal', 'done', 'done']);
});

test('proof 30: a lease that somebody has locked delays its own call only', async () => {
  const [locked, free] = await held(2);
  if (!locked || !free) throw new Error('two leases were expected');
  const holder = new pg.Client({ connectionString: fresh.url });
  await holder.connect();
  await holder.query('begin');
  await holder.query(`select 1 from ${fresh.schema}.lease where execution = $1 for update`, [locked.execution]);
  let isDone = false;
  const late = writers.complete([endingOf(locked)]).finally(() => {
    isDone = true;
  });
  const soon = await writers.complete([endingOf(free)]);
  const renewed = await writers.renew([{ ...heldBy(free), leaseMs: null, progress: null }]);
  expect([soon[0]?.verdict, renewed[0]?.verdict, isDone]).toEqual(['done', 'terminal', false]);
  await holder.query('rollback');
  await holder.end();
  expect(await late).toMatchObject([{ verdict: 'done', state: ExecutionState.SUCCEEDED }]);
});
