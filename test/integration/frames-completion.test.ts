/** A completion's last frames and its end are one: what comes between them undoes both. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Database } from '../../src/repository/database.js';
import { readFrames } from '../../src/repository/frames/index.js';
import { completeAndClaimWithFrames } from '../../src/repository/leases/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { addExecutions, endingOf, NAMESPACE, takeLeases } from '../support/direct.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const LIMITS = { frames: 100, summaryBytes: 10_000 };
const BOUNDS = { frames: 100, bytes: 10_000 };
const LEASE_MS = 1_500;

let fresh: TestDatabase;
let database: Database;
let line: { id: number; lane: number };
beforeAll(async () => {
  fresh = await freshDatabase();
  database = new Database({ url: fresh.url, schema: fresh.schema, connections: 2 });
  const key = { namespace: NAMESPACE, lane: 'lane', type: 'type', capabilities: [] };
  line = (await internClasses(database, [key]))[0] ?? line;
});
afterAll(async () => {
  await database.close();
  await fresh.drop();
});

const patch = { mode: 2, type: '', payload: { type: 'application/json', body: Buffer.from('{"a":1}') } };
const durable = { mode: 1, type: '', payload: { type: 'text/plain', body: Buffer.from('last') } };

test('a lease that runs out after the frames were written and before the end keeps neither', async () => {
  const client = new pg.Client({ connectionString: fresh.url });
  await client.connect();
  await addExecutions(database, 2, line.id);
  const [quick, slow] = await takeLeases(database, 2, line, { leaseMs: LEASE_MS });
  if (quick === undefined || slow === undefined) throw new Error('nothing to complete');
  try {
    // Folding takes longer than the leases are held.
    await client.query('alter function tailrace.fold_summary rename to fold_at_once');
    await client.query(`create function tailrace.fold_summary(p_document jsonb, p_patches jsonb[], p_bytes int) returns jsonb
      language sql volatile as $$
        select tailrace.fold_at_once(p_document, p_patches, p_bytes) from pg_sleep(${(LEASE_MS + 200) / 1_000}) $$`);
    const items = [
      { ...endingOf(quick), frames: [durable], taker: null },
      { ...endingOf(slow), frames: [durable, patch], taker: null },
    ];
    const { answers } = await completeAndClaimWithFrames(database, items, LIMITS);
    expect(answers).toMatchObject([{ verdict: 'expired' }, { verdict: 'expired' }]);
    const wanted = [quick, slow].map(({ execution }) => ({
      execution,
      attempt: 1,
      modes: [1, 2, 3],
      place: { position: -1, durable: 0, version: 0, passing: 0 },
    }));
    const pages = await readFrames(database, wanted, BOUNDS);
    expect(pages.map((page) => [page?.frames, page?.closed, page?.end.position])).toEqual([
      [[], undefined, 0],
      [[], undefined, 0],
    ]);
  } finally {
    await client.end();
  }
});
