/**
 * The plans of what is counted in budgets and held back by them, also inside their functions: made while the schema is empty,
 * kept, and still right over thousands of rows that nobody has analyzed.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  AttachmentKind,
  listBudgets,
  putBudget,
  readSpentFor,
  releaseUsage,
  reportUsage,
  reportUsages,
  resetBudget,
} from '../../src/repository/budgets/index.js';
import type { Granted } from '../../src/repository/claims/index.js';
import { type ClaimClass, internClasses } from '../../src/repository/registry/index.js';
import { sweep } from '../../src/repository/sweeping/index.js';
import { addExecutions, heldBy, NAMESPACE, takeLeases } from '../support/direct.js';
import { type Explained, ExplainedSession } from '../support/explained.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

const BUDGETS = 2_000;
const QUEUED = 20_000;
const SIZE = 50;
/** Tables that grow with use, with executions or with budgets. */
const TABLES = [
  ...['budget', 'budget_dimension', 'budget_delta', 'budget_attachment', 'spent', 'execution_usage', 'applied_usage'],
  ...['usage_report', 'ready', 'blocked', 'suspension', 'lease', 'parked', 'execution', 'flow_live', 'follow_up'],
];
/** Rows and pages that one execution, or one row of a batch, may cost. */
const EACH = 20;
const BATCH = 250;

let fresh: TestDatabase;
let session: ExplainedSession;
let line: Pick<ClaimClass, 'id' | 'lane'>;
let held: Granted;

beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
  const [made] = await internClasses(session, [{ namespace: NAMESPACE, lane: 'lane', type: 'kind', capabilities: [] }]);
  line = made ?? line;
  await addExecutions(session, 3, line.id);
  for (const round of ['first', 'second']) {
    held = (await takeLeases(session, 1, line))[0] ?? held;
    await everything(round);
  }
  await addExecutions(session, 1, line.id, { priority: 900 });
  held = (await takeLeases(session, 1, line))[0] ?? held;
  // Each budget has an attachment, a delta and what executions reported; half of them are used up, and hold something back.
  await session.sql(`
    insert into {schema}.budget (id, namespace, name, window_start, exhausted, created_at, changed_at)
      select md5('budget' || i)::uuid, ${NAMESPACE}, 'many ' || i, now(), i % 2 = 0, now(), now() from generate_series(1, ${BUDGETS}) i;
    insert into {schema}.budget_dimension (budget, dimension, hard_limit, used)
      select md5('budget' || i)::uuid, d, 10, case when i % 2 = 0 then 10 else 0 end
      from generate_series(1, ${BUDGETS}) i, unnest(array['tokens', 'calls']) d;
    insert into {schema}.budget_delta (budget, seq, dimension, amount)
      select md5('budget' || i)::uuid, nextval('{schema}.budget_seq'), 'tokens', n
      from generate_series(1, ${BUDGETS}) i, generate_series(1, 20) n;
    insert into {schema}.budget_attachment (namespace, kind, subject, budget)
      select ${NAMESPACE}, 4, md5('execution' || i)::uuid, md5('budget' || i)::uuid from generate_series(1, ${BUDGETS}) i;
    insert into {schema}.spent (namespace, kind, subject, budget)
      select a.namespace, a.kind, a.subject, a.budget from {schema}.budget_attachment a
      join {schema}.budget b on b.id = a.budget where b.exhausted on conflict do nothing;
    insert into {schema}.applied_usage (execution, budget, dimension, epoch, amount)
      select md5('execution' || i || n)::uuid, md5('budget' || i)::uuid, 'tokens', 1, 0
      from generate_series(1, ${BUDGETS}) i, generate_series(1, 10) n;
    insert into {schema}.execution_usage (execution, dimension, amount)
      select execution, dimension, amount from {schema}.applied_usage where amount = 0 on conflict do nothing;
    insert into {schema}.usage_report (execution, kind, key, hash, answer)
      select md5('execution' || i)::uuid, 1, 'key', '\\x00', '{}' from generate_series(1, ${4 * BUDGETS}) i;
    insert into {schema}.blocked (execution, state, waits_for, blocked_at, class, priority, kind, attempt, failures, reclaims,
        redrive, linked, resume, budget)
      select md5('execution' || i || n)::uuid, 1, 3, now(), ${line.id}, 0, 1, 0, 0, 0, false, false, false, md5('budget' || i)::uuid
      from generate_series(2, ${BUDGETS}, 2) i, generate_series(1, 5) n;
    insert into {schema}.suspension (execution, namespace, number, reason, condition, suspended_at, behavior, class, priority,
        kind, attempt, failures, reclaims, redrive, linked, budget)
      select md5('parked' || i || n)::uuid, ${NAMESPACE}, 1, 6, '{"kind":"operator_only"}', now(), 1, ${line.id}, 0, 1, 1, 0, 0,
        false, false, md5('budget' || i)::uuid
      from generate_series(2, ${BUDGETS}, 2) i, generate_series(1, 5) n`);
  for (let i = 0; i < QUEUED; i += 1_000) await addExecutions(session, 1_000, line.id);
}, 120_000);
afterAll(async () => {
  await session.close();
  await fresh.drop();
});

const amounts = { usage: [['tokens', 3n]] as const, hash: Buffer.alloc(16), maxDimensions: 64 };

async function put(hard: bigint, expectedVersion = 0n): Promise<void> {
  const attachments = [{ kind: AttachmentKind.LANE, lane: 'lane', subject: null }];
  const limits = [{ dimension: 'tokens', hard, soft: 0n }];
  const more = { policy: 1, windowMs: null, windowStart: null, limits, attachments, actor: '' };
  await putBudget(session, { namespace: NAMESPACE, name: 'of the lane', expectedVersion, ...more });
}

const page = { namespace: NAMESPACE, attachment: null, exhaustedOnly: false, after: '', limit: SIZE };
const bound = () => ({ lane: line.lane, flow: null, execution: held.execution });

/** What a budget goes through. */
async function everything(key: string): Promise<void> {
  await put(10n);
  await reportUsages(session, [{ ...heldBy(held), ...amounts, key }]);
  await reportUsage(session, { ...heldBy(held), ...amounts, key: `${key} again` });
  await releaseUsage(session, { ...heldBy(held), lease: heldBy(held), ...amounts, key });
  await put(0n);
  await readSpentFor(session, NAMESPACE, bound());
  await swept();
  await put(10n);
  await swept();
  await resetBudget(session, {
    namespace: NAMESPACE,
    name: 'of the lane',
    dimensions: null,
    expectedVersion: 0n,
    actor: '',
    reason: '',
  });
  await listBudgets(session, page);
}

async function swept(): Promise<void> {
  while ((await sweep(session, 'budgets', 100)).taken > 0);
}

/** The plans of a call; none may read a table from its beginning to its end. */
async function costOf(body: () => Promise<unknown>): Promise<{ work: number; pages: number }> {
  const made: Explained[] = await session.explain(body);
  const whole = made.flatMap(({ scans, text }) =>
    scans
      .filter(({ kind, table }) => kind === 'Seq Scan' && TABLES.includes(table))
      .map(({ table }) => `${table} in ${text}`),
  );
  expect(whole).toEqual([]);
  return {
    work: Math.max(...made.map(({ work }) => work)),
    pages: Math.max(...made.map(({ pages }) => pages)),
  };
}

test.each([
  ['a report among others', () => reportUsages(session, [{ ...heldBy(held), ...amounts, key: 'fourth' }])],
  ['a report', () => reportUsage(session, { ...heldBy(held), ...amounts, key: 'third' })],
  ['a give-back', () => releaseUsage(session, { ...heldBy(held), lease: null, ...amounts, key: 'third' })],
  ['the look for budgets that hold an execution back', () => readSpentFor(session, NAMESPACE, bound())],
])('%s costs the same, however many budgets and executions there are', async (_, call) => {
  const { work, pages } = await costOf(call);
  expect(work).toBeLessThan(10 * EACH);
  expect(pages).toBeLessThan(10 * EACH);
});

test('a page of budgets reads what it shows', async () => {
  const [last] = (await listBudgets(session, { ...page, limit: 1_000 })).slice(-1);
  for (const after of ['', last?.name ?? '']) {
    const { work } = await costOf(() => listBudgets(session, { ...page, after }));
    expect(work).toBeLessThan(SIZE * 10 * EACH);
  }
});

test('a budget that is used up, and comes back, costs what it moves, batch by batch', async () => {
  await put(0n);
  const batch = () => costOf(() => sweep(session, 'budgets', 100));
  for (let n = 0; n < 20; n++) expect((await batch()).work).toBeLessThan(BATCH * EACH);
  await swept();
  await put(10n);
  for (let n = 0; n < 20; n++) expect((await batch()).work).toBeLessThan(BATCH * EACH);
});
