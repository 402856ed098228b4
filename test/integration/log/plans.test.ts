/**
 * The log's statements are prepared on an empty log, which then fills without ANALYZE: their plans must be right all the
 * same, and what they cost must not depend on how long the log is.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Database } from '../../../src/repository/database.js';
import {
  positionOf,
  readClassNames,
  readDetails,
  readFlowNames,
  readFlowStandings,
  readHistory,
  readLog,
  readLogHead,
  readNamespaceNames,
  readStates,
  stepLog,
} from '../../../src/repository/log/index.js';
import { statement, statements } from '../../../src/repository/statement.js';
import { monotonicMs } from '../../../src/runtime/clock.js';
import { LogEngine, uuidV7 } from '../../support/log-engine.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';

const EXECUTIONS = 10_000;
const BATCH = 500;

let database: TestDatabase;
let session: Database;
let engine: LogEngine;
let one: string;

beforeAll(async () => {
  database = await freshDatabase();
  engine = new LogEngine(database);
  session = new Database({ url: database.url, schema: database.schema, connections: 1 });
  one = uuidV7();
  await everyStatement(1n);
  for (let made = 0; made < EXECUTIONS; made += BATCH) [one = one] = await engine.run(BATCH);
  // Short transactions too: many rows in one run of positions.
  for (let i = 0; i < 200; i++) await engine.create(1);
  await engine.settled();
});

afterAll(async () => {
  await session.close();
  await engine.stop();
  await database.drop();
});

async function everyStatement(head: bigint): Promise<Record<string, number>> {
  const took: Record<string, number> = {};
  const timed = async (name: string, call: () => Promise<unknown>) => {
    const started = monotonicMs();
    await call();
    took[name] = monotonicMs() - started;
  };
  await timed('step', () => stepLog(session, 512));
  await timed('head', () => readLogHead(session));
  await timed('end of the log', () => readLog(session, head, 512));
  await timed('middle of the log', () => readLog(session, head / 2n + 1n, 512));
  await timed('position', () => positionOf(session, 20n));
  await timed('history', () => readHistory(session, { of: one, limit: 50 }));
  await timed('history from its end', () => readHistory(session, { of: one, limit: 50, newestFirst: true }));
  await timed('flows', async () => [await readFlowStandings(session, [one]), await readFlowNames(session, [one])]);
  await timed('details', () => readDetails(session, [one], 1_000));
  await timed('states', () => readStates(session, [one]));
  await timed('names', async () => [await readClassNames(session, [1]), await readNamespaceNames(session, [1])]);
  return took;
}

test('no statement scans a table, and none takes long', async () => {
  const { head } = await readLogHead(session);
  const runs: Record<string, number>[] = [];
  for (let i = 0; i < 15; i++) runs.push(await everyStatement(head));
  const fastest = Object.keys(runs[0] ?? {}).map((name) => [name, Math.min(...runs.map((run) => run[name] ?? 0))]);
  expect(fastest.filter(([, ms]) => Number(ms) > 50)).toEqual([]);
});

const ARGUMENTS: Readonly<Record<string, string>> = {
  'log.read': '(1000, 512)',
  'log.history': `('00000000-0000-7000-8000-000000000001', 0, 50, null)`,
  'log.history-backward': `('00000000-0000-7000-8000-000000000001', 1000000, 50, null)`,
  'log.flow-standings': `(array['00000000-0000-7000-8000-000000000001'::uuid])`,
  'log.flow-names': `(array['00000000-0000-7000-8000-000000000001'::uuid])`,
  'log.position': '(1000)',
  'log.details': `(array['00000000-0000-7000-8000-000000000001'::uuid], 1000)`,
};

test.each(Object.entries(ARGUMENTS))('the plan of %s uses indexes only', async (name, values) => {
  expect(statements().map((made) => made.name)).toContain(name);
  const explain = statement(`test.explain-${name}`, `explain (costs off) execute "${name}" ${values}`);
  const rows = await session.query<{ 'QUERY PLAN': string }>(explain);
  // One row stands in log_incarnation, whatever the log holds.
  const lines = rows.map((row) => row['QUERY PLAN']).filter((line) => !line.includes('Seq Scan on log_incarnation'));
  const plan = lines.join('\n');
  expect(plan).toContain('Index');
  expect(plan).not.toContain('Seq Scan');
});
