/**
 * What an ordering key costs: as much for one with two thousand behind it as for one with three, by plans that were made while
 * the schema was empty. The rows that were passed on before are not walked again.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EndCall } from '../../src/domain/states.js';
import { readOrderAhead } from '../../src/repository/inspection/index.js';
import { endAttempts } from '../../src/repository/leases/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { addExecutions, endingOf, NAMESPACE, takeLeases } from '../support/direct.js';
import { type Explained, ExplainedSession } from '../support/explained.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const WAITING = 2_000;
const TABLES = ['ready', 'scheduled', 'lease', 'blocked', 'suspension', 'dead_letter', 'concurrency_key'];
const KEYED = { orderingKey: 'k', deadHead: 1 };

let fresh: TestDatabase;
let session: ExplainedSession;
let line: { id: number; lane: number };
let short: Cost;
beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
  const [made] = await internClasses(session, [{ namespace: NAMESPACE, lane: 'lane', type: 'kind', capabilities: [] }]);
  line = made ?? line;
  await addExecutions(session, 4, line.id, KEYED);
  await step();
  short = await costOf(step);
  for (let i = 0; i < WAITING; i += 500) await addExecutions(session, 500, line.id, KEYED);
  for (let i = 0; i < 50; i++) await step();
}, 120_000);
afterAll(async () => {
  await session.close();
  await fresh.drop();
});

/** One more of the key is made; its head runs, and passes the place on. */
async function step(): Promise<void> {
  await addExecutions(session, 1, line.id, KEYED);
  const [granted, ...others] = await takeLeases(session, 5, line);
  if (granted === undefined || others.length > 0) throw new Error('expected the head, and nobody else');
  await endAttempts(session, EndCall.COMPLETE, [endingOf(granted)]);
}

interface Cost {
  readonly work: number;
  readonly pages: number;
  readonly scanned: readonly string[];
}

async function costOf(body: () => Promise<unknown>): Promise<Cost> {
  const made: Explained[] = await session.explain(body);
  const scans = made.flatMap(({ scans }) => scans);
  return {
    work: made.reduce((sum, { work }) => sum + work, 0),
    pages: made.reduce((sum, { pages }) => sum + pages, 0),
    scanned: scans.filter(({ kind, table }) => kind === 'Seq Scan' && TABLES.includes(table)).map(({ table }) => table),
  };
}

test('the place of a key is passed on for the same, however many wait for it', async () => {
  const long = await costOf(step);
  expect(long.scanned).toEqual([]);
  expect(long.work).toBeLessThan(short.work * 1.5);
  expect(long.pages).toBeLessThan(short.pages * 1.5 + 50);
});

test('who waits learns who is before it from the ends of the line', async () => {
  const [last] = await session.sql(
    'select gate, place::text as place from {schema}.blocked where waits_for = 4 order by place desc limit 1',
  );
  const ask = () => readOrderAhead(session, String(last?.['gate']), BigInt(String(last?.['place'])));
  expect(await ask()).toMatchObject({ letter: null, ahead: expect.any(Number) });
  const cost = await costOf(ask);
  expect(cost.scanned).toEqual([]);
  expect(cost.pages).toBeLessThan(WAITING / 10);
});
