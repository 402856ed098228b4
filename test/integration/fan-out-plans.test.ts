/**
 * What it costs to release those that wait for one execution does not grow with the fillings of other joins that have long
 * been folded, also while somebody's snapshot keeps them from being removed and the plan is one of when there were none.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EndCall } from '../../src/domain/states.js';
import { Database } from '../../src/repository/database.js';
import { createFlow } from '../../src/repository/flows/index.js';
import { endAttempts } from '../../src/repository/leases/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { sweep } from '../../src/repository/sweeping/index.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { endingOf, NAMESPACE, newExecution, takeLeases } from '../support/direct.js';
import { ExplainedSession } from '../support/explained.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const FAN = 600;
const FILLINGS = 6_000;
const BATCH = 500;

interface Line {
  readonly id: number;
  readonly lane: number;
}

let fresh: TestDatabase;
let session: ExplainedSession;
let database: Database;
let holder: pg.Client;
/** Those that are ended, and those that only wait. */
let ending: Line;
let waiting: Line;
beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
  database = new Database({ url: fresh.url, schema: fresh.schema, connections: 1 });
  holder = new pg.Client({ connectionString: fresh.url });
  await holder.connect();
  const classOf = (type: string) => ({ namespace: NAMESPACE, lane: type, type, capabilities: [] });
  [ending, waiting] = (await internClasses(session, [classOf('ending'), classOf('waiting')])) as [Line, Line];
});
afterAll(async () => {
  await holder.end();
  await database.close();
  await session.close();
  await fresh.drop();
});

/** So many that end, so many that wait, and of each of these for how many of the others it waits. */
async function makeFlow(ends: number, waits: number): Promise<void> {
  const flow = uuidV7();
  const member = ({ id }: Line, i: number) => ({
    localName: `m${i}`,
    execution: newExecution(id, { flow: { id: flow, optional: false } }),
  });
  const upstreams = Array.from({ length: ends }, (_, i) => member(ending, i));
  const downstreams = Array.from({ length: waits }, (_, i) => member(waiting, ends + i));
  const joins = downstreams.map(({ execution: { id: downstream } }) => ({
    ...{ id: uuidV7(), downstream, policy: null, sealed: true, depth: 1 },
    slots: upstreams.map(({ execution }) => ({ upstream: execution.id, name: '', optional: false, source: null })),
  }));
  const spec = {
    ...{
      id: flow,
      namespace: NAMESPACE,
      requestId: null,
      hash: Buffer.alloc(16),
      name: '',
      tags: {},
      failurePolicy: 1,
    },
    ...{ cancel: { now: false, graceMs: 1_000, acceptsLate: true }, open: false, sealAfterIdleMs: null },
  };
  await createFlow(database, spec, [...upstreams, ...downstreams], joins);
}

async function endAll(count: number): Promise<void> {
  for (let left = count; left > 0; ) {
    const granted = await takeLeases(session, Math.min(left, BATCH), ending);
    await endAttempts(
      session,
      EndCall.COMPLETE,
      granted.map((one) => endingOf(one)),
    );
    left -= granted.length;
  }
}

async function sweepAll(subject: 'fillings' | 'followUps'): Promise<void> {
  while ((await sweep(session, subject, 100)).taken > 0);
}

/** Pages that are looked at to release those who wait for one that has ended. */
async function fanOut(): Promise<number> {
  await makeFlow(1, FAN);
  await endAll(1);
  const plans = await session.explain(() => sweepAll('followUps'));
  const own = plans.filter(({ scans }) => scans.some(({ table }) => table === 'filling'));
  return own.reduce((sum, { pages }) => sum + pages, 0);
}

test('a fan-out does not read the fillings of others that nobody can remove', async () => {
  await session.sql('analyze {schema}.filling');
  await fanOut();
  const before = await fanOut();
  await holder.query('begin isolation level repeatable read');
  await holder.query('select 1');
  await makeFlow(FILLINGS, 1);
  await endAll(FILLINGS);
  await sweepAll('fillings');
  expect(await session.sql('select from {schema}.filling limit 1')).toEqual([]);
  const after = await fanOut();
  await holder.query('rollback');
  expect(after).toBeLessThan(2 * before);
});
