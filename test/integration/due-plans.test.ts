/**
 * What it costs to find what is due depends on what is due: neither on how much waits for a later time, nor on what was done
 * with and cannot be removed because somebody holds a snapshot. So with the heads of lines. Plans are those of an empty schema.
 */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EndCall } from '../../src/domain/states.js';
import { readHeads } from '../../src/repository/claims/index.js';
import { endAttempts } from '../../src/repository/leases/index.js';
import { internClasses } from '../../src/repository/registry/index.js';
import { readPulse, sweep, TIMED } from '../../src/repository/sweeping/index.js';
import { addExecutions, endingOf, NAMESPACE, takeLeases } from '../support/direct.js';
import { ExplainedSession } from '../support/explained.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const MANY = 4_000;
const BATCH = 500;
const LIMIT = 100;
const HOUR_MS = 3_600_000;
/** Of a look at one queue in which nothing is due; it was all of it before. */
const FEW_ROWS = 50;
const FEW_PAGES = 60;

interface Line {
  readonly id: number;
  readonly lane: number;
}

let fresh: TestDatabase;
let session: ExplainedSession;
let holder: pg.Client;
let line: Line;
/** What waits for a later time; nobody claims it. */
let later: Line;
beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
  holder = new pg.Client({ connectionString: fresh.url });
  await holder.connect();
  const classOf = (type: string) => ({ namespace: NAMESPACE, lane: type, type, capabilities: [] });
  [line, later] = (await internClasses(session, [classOf('line'), classOf('later')])) as [Line, Line];
  for (const subject of TIMED) await sweep(session, subject, LIMIT, 0);
  await readPulse(session, [], {});
  await heads(0n);
});
afterAll(async () => {
  await holder.end();
  await session.close();
  await fresh.drop();
});

const heads = (seq: bigint) => readHeads(session, [{ class: line.id, priority: 0, seq }]);

async function costOf(body: () => Promise<unknown>): Promise<{ rows: number; pages: number }> {
  const made = await session.explain(body);
  // Functions are reported too, with what is inside them.
  const inner = made.filter(({ scans }) => scans.length > 0);
  return {
    rows: inner.reduce((sum, { scans }) => sum + scans.reduce((rows, scan) => rows + scan.rows, 0), 0),
    pages: inner.reduce((sum, { pages }) => sum + pages, 0),
  };
}

/** So many, made in calls that each wait an hour for something. */
async function fill(more: Parameters<typeof addExecutions>[3], into: Line): Promise<void> {
  for (let i = 0; i < MANY; i += BATCH) await addExecutions(session, BATCH, into.id, more);
}

test('a sweep does not read what waits for a later time', async () => {
  await fill({ delayMs: HOUR_MS }, later); // scheduled
  await fill({ ttlMs: HOUR_MS }, later); // timers, and in line
  for (let i = 0; i < MANY; i += BATCH) await takeLeases(session, BATCH, later, { leaseMs: HOUR_MS });
  await session.sql(`
    insert into {schema}.suspension (execution, namespace, number, reason, condition, suspended_at, behavior, class, priority,
        kind, attempt, failures, reclaims, redrive, linked, due_at, timeout_at)
      select md5(i::text)::uuid, ${NAMESPACE}, 1, 1, '{"kind":"signal","name":"go","waitpoint":"door"}', now(), 1, ${later.id},
        0, 1, 1, 0, 0, false, false, now() + interval '1 hour', now() + interval '1 hour'
      from generate_series(1, ${MANY}) i;
    insert into {schema}.waitpoint (id, namespace, execution, key, secret, created_at, expires_at)
      select md5('door' || i)::uuid, ${NAMESPACE}, md5(i::text)::uuid, 'door', 1, now(), now() + interval '1 hour'
      from generate_series(1, ${MANY}) i`);
  for (const subject of TIMED) {
    const { rows, pages } = await costOf(() => sweep(session, subject, LIMIT));
    expect({ subject, rows: rows < FEW_ROWS, pages: pages < FEW_PAGES }).toEqual({ subject, rows: true, pages: true });
  }
});

test('what was done with is not read again, though a snapshot keeps it', async () => {
  await holder.query('begin isolation level repeatable read');
  await holder.query('select 1');
  const looks: readonly (readonly [string, (behindMs?: number) => Promise<unknown>])[] = [
    ...TIMED.map((subject) => [subject, (behindMs?: number) => sweep(session, subject, LIMIT, behindMs)] as const),
    [
      'pulse',
      (ms?: number) =>
        readPulse(session, [], ms === undefined ? undefined : Object.fromEntries(TIMED.map((each) => [each, ms]))),
    ],
  ];
  // Scheduled for a moment later, promoted, with a time to live, claimed and ended: an entry of each kind is dead.
  await fill({ delayMs: 1, ttlMs: HOUR_MS }, line);
  while ((await sweep(session, 'scheduled', BATCH)).taken > 0);
  for (let left = MANY; left > 0; ) {
    const granted = await takeLeases(session, Math.min(left, BATCH), line, { leaseMs: HOUR_MS });
    const endings = granted.map((one) => endingOf(one));
    await endAttempts(session, EndCall.COMPLETE, endings);
    left -= granted.length;
  }
  while ((await sweep(session, 'timers', BATCH)).taken > 0);
  for (const [name, look] of looks) {
    const { pages } = await costOf(() => look(0));
    expect({ name, pages: pages < FEW_PAGES }).toEqual({ name, pages: true });
  }
  // What is dead is still there: everything is more than that.
  expect((await costOf(() => sweep(session, 'scheduled', LIMIT))).pages).toBeGreaterThan(FEW_PAGES);
  await addExecutions(session, 1, line.id);
  const [first] = await heads(0n);
  const fromStart = await costOf(() => heads(0n));
  const fromBound = await costOf(() => heads(first?.seq ?? 0n));
  expect(await heads(first?.seq ?? 0n)).toEqual([first]);
  await holder.query('rollback');
  expect(fromStart.pages).toBeGreaterThan(FEW_PAGES);
  expect(fromBound.pages).toBeLessThan(FEW_PAGES);
});
