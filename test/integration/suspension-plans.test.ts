/**
 * The plans of what is read of suspensions, waitpoints and secrets: made while the schema is empty, kept, and still right over
 * thousands of rows that nobody has analyzed. A page of fifty costs what it shows.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { internClasses } from '../../src/repository/registry/index.js';
import { readAcceptedSecrets, readPresentSecrets, readSecrets } from '../../src/repository/secrets/index.js';
import { listSuspensions, listWaitpoints } from '../../src/repository/suspensions/index.js';
import { NAMESPACE } from '../support/direct.js';
import { type Explained, ExplainedSession } from '../support/explained.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const PARKED = 4_000;
const SECRETS = 4_000;
const SIZE = 50;
const TABLES = ['suspension', 'waitpoint', 'signal', 'waitpoint_secret', 'outcome'];
const FILTER = {
  namespace: NAMESPACE,
  reasons: null,
  escalatedOnly: false,
  lanes: null,
  types: null,
  flow: null,
  suspendedBefore: null,
};

let fresh: TestDatabase;
let session: ExplainedSession;
let line: number;
beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
  const [made] = await internClasses(session, [{ namespace: NAMESPACE, lane: 'lane', type: 'kind', capabilities: [] }]);
  line = made?.id ?? 0;
  await reads();
  // Every second waitpoint and every parked execution belong to another namespace; each has ten signals.
  await session.sql(`
    insert into {schema}.suspension (execution, namespace, number, reason, condition, suspended_at, behavior, class, priority,
        kind, attempt, failures, reclaims, redrive, linked)
      select md5(i::text)::uuid, ${NAMESPACE} + i % 2, 1, 1, '{"kind":"all_of","members":[
        {"kind":"signal","name":"go","waitpoint":"door"},
        {"kind":"count","count":3,"distinct":3,"among":[{"name":"vote","waitpoint":""}]}]}',
        now() - i * interval '1 second', 1, ${line}, 0, 1, 1, 0, 0, false, false
      from generate_series(1, ${2 * PARKED}) i;
    insert into {schema}.waitpoint (id, namespace, execution, key, secret, created_at, expires_at)
      select md5('door' || i || key)::uuid, ${NAMESPACE} + i % 2, md5(i::text)::uuid, key, 1, now(), now() + i * interval '1 hour'
      from generate_series(1, ${2 * PARKED}) i, unnest(array['door', 'window']) key;
    insert into {schema}.signal (execution, number, id, name, source, source_id, received_at)
      select md5(i::text)::uuid, n, md5('signal' || i || n)::uuid, case when n < 4 then 'vote' else 'noise' end, 1, n, now()
      from generate_series(1, ${2 * PARKED}) i, generate_series(1, 10) n;
    insert into {schema}.waitpoint_secret (namespace, sealed, accepted_until)
      select i, '\\x00', null from generate_series(1, ${SECRETS}) i`);
}, 120_000);
afterAll(async () => {
  await session.close();
  await fresh.drop();
});

/** So that their plans are made. */
async function reads(): Promise<void> {
  await listSuspensions(session, FILTER, undefined, SIZE);
  await listWaitpoints(session, { namespace: NAMESPACE, execution: null, states: null }, undefined, SIZE);
  await readSecrets(session, [1]);
  await readPresentSecrets(session, [1]);
  await readAcceptedSecrets(session, [1]);
}

async function costOf(body: () => Promise<unknown>): Promise<{ work: number; pages: number; scanned: string[] }> {
  const made: Explained[] = await session.explain(body);
  const whole = made
    .flatMap(({ scans }) => scans)
    .filter(({ kind, table }) => kind === 'Seq Scan' && TABLES.includes(table));
  return {
    work: made.reduce((sum, { work }) => sum + work, 0),
    pages: made.reduce((sum, { pages }) => sum + pages, 0),
    scanned: whole.map(({ table }) => table),
  };
}

test('a page of suspensions reads what it shows: their waitpoints, their signals', async () => {
  const first = await listSuspensions(session, FILTER, undefined, SIZE);
  expect(first.suspensions).toHaveLength(SIZE);
  expect(first.suspensions[0]).toMatchObject({ satisfiers: 3, waitpoints: [{ key: 'door' }] });
  let after = first.next;
  for (let page = 0; page < 20; page++) after = (await listSuspensions(session, FILTER, after, SIZE)).next;
  for (const from of [undefined, after]) {
    const cost = await costOf(() => listSuspensions(session, FILTER, from, SIZE));
    expect(cost.scanned).toEqual([]);
    expect(cost.work).toBeLessThan(SIZE * 200);
    expect(cost.pages).toBeLessThan(SIZE * 60);
  }
});

test('a page of waitpoints, and those of one execution, read what they show', async () => {
  const all = { namespace: NAMESPACE, execution: null, states: null };
  const first = await listWaitpoints(session, all, undefined, SIZE);
  expect(first.waitpoints).toHaveLength(SIZE);
  let after = first.next;
  for (let page = 0; page < 20; page++) after = (await listWaitpoints(session, all, after, SIZE)).next;
  const execution = first.waitpoints[0]?.execution ?? '';
  for (const [filter, from] of [
    [all, undefined],
    [all, after],
    [{ ...all, execution }, undefined],
  ] as const) {
    const cost = await costOf(() => listWaitpoints(session, filter, from, SIZE));
    expect(cost.scanned).toEqual([]);
    expect(cost.work).toBeLessThan(SIZE * 20);
    expect(cost.pages).toBeLessThan(SIZE * 20);
  }
  expect((await listWaitpoints(session, { ...all, execution }, undefined, SIZE)).waitpoints).toHaveLength(2);
});

test('a secret is reached by its id, and the present one of a namespace by that', async () => {
  for (const read of [readSecrets, readPresentSecrets, readAcceptedSecrets]) {
    const cost = await costOf(() => read(session, [17, 2_000]));
    expect(cost.scanned).toEqual([]);
    expect(cost.pages).toBeLessThan(20);
  }
});
