/**
 * The plans of the hot statements, also of what their functions send inside: made while the schema is empty, kept, and
 * still right over a hundred thousand rows that nobody has analyzed. This is what a first boot lives through.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EndCall } from '../../src/domain/states.js';
import { claimExecution, type Granted, readHeads, readHorizon } from '../../src/repository/claims/index.js';
import { cancelExecution, createExecutions } from '../../src/repository/executions/index.js';
import { foldCounts } from '../../src/repository/inspection/index.js';
import { endAttempts, renewLeases } from '../../src/repository/leases/index.js';
import { readDetails, readLog, readLogHead, readStates, stepLog } from '../../src/repository/log/index.js';
import { type ClassKey, internClasses } from '../../src/repository/registry/index.js';
import { readPulse, sweep } from '../../src/repository/sweeping/index.js';
import { wallMs } from '../../src/runtime/clock.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { addExecutions, endingOf, heldBy, NAMESPACE, newExecution, takeLeases, wholeLine } from '../support/direct.js';
import { eventually } from '../support/eventually.js';
import { type Explained, ExplainedSession, type Scan } from '../support/explained.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

/** Rows of another class, more urgent than what is claimed; and rows of the same class. */
const AHEAD = 100_000;
const BESIDE = 20_000;

/** The indexes that serve hot statements; a partition's has its parent's name with the partition's number in it. */
const INDEXES = [
  ...['ready_pkey', 'ready_execution_key', 'scheduled_pkey', 'scheduled_due'],
  ...['lease_pkey', 'lease_check', 'timer_pkey', 'timer_due'],
  ...['execution_pkey', 'request_key_pkey', 'attempt_pkey', 'outcome_pkey', 'dead_letter_execution'],
  ...['log_pkey', 'log_body_pkey', 'log_run_pkey'],
  ...['subscription_of_letters', 'letter_route_pkey', 'redrive_unsettled'],
  ...['namespace_pkey', 'claim_class_pkey', 'lane_pkey', 'worker_pkey', 'worker_name', 'state_count_pkey'],
  // Of flows, which are empty here: flow-plans.test.ts fills them.
  ...[
    'blocked_pkey',
    'parked_pkey',
    'barrier_downstream',
    'barrier_due',
    'filling_pkey',
    'follow_up_due',
    'flow_seal_at',
  ],
  // Of waits and limits, empty here too: suspension-plans.test.ts and budget-plans.test.ts fill them.
  ...['suspension_pkey', 'suspension_due', 'waitpoint_due', 'quota_pkey', 'spent_pkey', 'budget_pkey', 'budget_reset'],
  ...['follow_up_budget', 'lease_limited'],
  // Of events and ordering keys: ordering-plans.test.ts fills the latter.
  ...['event_pkey', 'subscription_pkey', 'subscription_past', 'unrouted_flow', 'blocked_line'],
];
const ONE_ROW = [
  'registry',
  'subscription_registry',
  'consumer_registry',
  'ready_seq',
  'log_incarnation',
  'log_past',
  'counted',
];

type Plans = Map<string, Explained[]>;

let fresh: TestDatabase;
let session: ExplainedSession;
let line: { id: number; lane: number };
let other: { id: number; lane: number };
const rounds: { empty: Plans; hundred: Plans; fiveHundred: Plans } = {
  empty: new Map(),
  hundred: new Map(),
  fiveHundred: new Map(),
};

beforeAll(async () => {
  fresh = await freshDatabase();
  session = await ExplainedSession.open(fresh);
  const key: ClassKey = { namespace: NAMESPACE, lane: 'lane', type: 'mine', capabilities: [] };
  const made = await internClasses(session, [key, { ...key, type: 'not mine' }]);
  line = made[0] ?? line;
  other = made[1] ?? other;
  await everything(1);
  rounds.empty = await everything(100);
  for (let i = 0; i < AHEAD; i += 1_000) await addExecutions(session, 1_000, other.id, { priority: 9 });
  for (let i = 0; i < BESIDE; i += 1_000) await addExecutions(session, 1_000, line.id, { priority: -9 });
  rounds.hundred = await everything(100);
  rounds.fiveHundred = await everything(500);
}, 120_000);

afterAll(async () => {
  await session.close();
  await fresh.drop();
});

const scansOf = (plans: readonly Explained[]) => plans.flatMap(({ scans }) => scans);
const rowsOf = (plans: readonly Explained[] = []) => scansOf(plans).reduce((sum, { rows }) => sum + rows, 0);
const workOf = (plans: readonly Explained[] = []) => plans.reduce((sum, { work }) => sum + work, 0);
/** Of the outermost statement, which counts those inside. */
const pagesOf = (plans: readonly Explained[] = []) => plans.at(-1)?.pages ?? 0;

describe('over 120,000 rows, with plans from when there were none', () => {
  test('every table is read through its index', () => {
    const wrong = [...rounds.hundred, ...rounds.fiveHundred].flatMap(([name, plans]) =>
      scansOf(plans)
        .filter((scan) => !isServed(scan))
        .map(({ table, kind, index }) => `${name}: ${kind} of ${index ?? table}`),
    );
    expect([...new Set(wrong)]).toEqual([]);
    expect(rounds.hundred.size).toBeGreaterThan(20);
  });

  test('no statement looks at more rows than its items ask for', () => {
    const many = [...rounds.hundred].filter(([, plans]) => rowsOf(plans) > 20 * 100);
    expect(many.map(([name, plans]) => `${name}: ${rowsOf(plans)} rows`)).toEqual([]);
  });

  test('no statement looks at more pages than deeper indexes cost', () => {
    const many = [...rounds.hundred].filter(
      ([name, plans]) => pagesOf(plans) > 2 * pagesOf(rounds.empty.get(name)) + 20 * 100,
    );
    expect(many.map(([name, plans]) => `${name}: ${pagesOf(plans)} pages`)).toEqual([]);
  });

  test('five times the items are about five times the work', () => {
    const steep = [...rounds.fiveHundred].filter(([name, plans]) => {
      const before = rounds.hundred.get(name);
      return workOf(plans) > 7 * workOf(before) + 2_000 || pagesOf(plans) > 8 * pagesOf(before) + 2_000;
    });
    expect(steep.map(([name, plans]) => `${name}: ${workOf(plans)} rows, ${pagesOf(plans)} pages`)).toEqual([]);
  });

  test('work that a claimer cannot take costs it nothing', async () => {
    await addExecutions(session, 10, line.id, { priority: 8 });
    const plans = await session.explain(() => takeLeases(session, 10, line));
    expect(scansOf(plans).filter(({ table }) => table === 'ready')).toMatchObject([
      { index: 'ready_pkey', rows: 10 },
      { index: 'ready_pkey', rows: 10 },
      { kind: 'Tid Scan', rows: 10 },
    ]);
  });

  test('what a snapshot keeps of a drained line is not walked again from the lower bound', async () => {
    const [drained] = await internClasses(session, [
      { namespace: NAMESPACE, lane: 'lane', type: 'drained', capabilities: [] },
    ]);
    const mine = drained ?? line;
    const holder = await ExplainedSession.open(fresh);
    try {
      await holder.sql('begin isolation level repeatable read');
      await holder.sql('select count(*) from {schema}.registry');
      for (let i = 0; i < 5; i++) {
        await addExecutions(session, 1_000, mine.id);
        await takeLeases(session, 1_000, mine);
      }
      await addExecutions(session, 2, mine.id);
      const { seq, xid } = await readHorizon(session);
      // A snapshot that only reads does not hold the horizon; a transaction of anybody's in the same cluster may for a while.
      await eventually(async () => (await readHorizon(session)).oldest > xid);
      const [head] = await readHeads(session, [{ class: mine.id, priority: 0, seq: 0n }]);
      expect(head?.seq).toBe(seq - 1n);
      const claim = (fromSeq: bigint) =>
        session.explain(() => takeLeases(session, 1, mine, { fromPriority: 0, fromSeq }));
      const readyPages = async (fromSeq: bigint) =>
        pagesOf((await claim(fromSeq)).filter(({ text }) => /with segment/.test(text)));
      const [bounded, unbounded] = [await readyPages(seq - 1n), await readyPages(0n)];
      expect(bounded).toBeLessThan(40);
      expect(unbounded).toBeGreaterThan(bounded + 100);
    } finally {
      await holder.close();
    }
  });
});

describe('a line that was vacuumed while it was empty', () => {
  // It counts as empty until it is vacuumed again, and for no rows a bitmap and a sort are cheaper than an index that,
  // as it was analyzed when it was full, has its rows all over the table.
  const PASSED = 100_000;
  const WAITING = 20_000;
  let emptied: TestDatabase;
  let later: ExplainedSession;
  let mine: { id: number; lane: number };

  beforeAll(async () => {
    emptied = await freshDatabase();
    const before = await ExplainedSession.open(emptied);
    const [made] = await internClasses(before, [
      { namespace: NAMESPACE, lane: 'lane', type: 'mine', capabilities: [] },
    ]);
    mine = made ?? { id: 0, lane: 0 };
    const fill = async (count: number) => {
      for (let i = 0; i < count; i += 1_000) await addExecutions(before, 1_000, mine.id);
    };
    await fill(PASSED);
    await before.sql('analyze {schema}.ready');
    for (let i = 0; i < PASSED; i += 1_000) await takeLeases(before, 1_000, mine);
    await before.sql('vacuum (truncate off) {schema}.ready');
    expect(
      await before.sql("select from pg_class where oid = '{schema}.ready'::regclass and reltuples = 0"),
    ).toHaveLength(1);
    await fill(WAITING);
    await before.close();
    later = await ExplainedSession.open(emptied);
  }, 120_000);
  afterAll(async () => {
    await later?.close();
    await emptied?.drop();
  });

  test('is still claimed from in its order', async () => {
    const plans = await later.explain(() => takeLeases(later, 10, mine));
    expect(scansOf(plans).filter(({ table }) => table === 'ready')).toMatchObject([
      { index: 'ready_pkey', rows: 10 },
      { index: 'ready_pkey', rows: 10 },
      { kind: 'Tid Scan', rows: 10 },
    ]);
  });

  test('is still looked at by its head', async () => {
    expect(rowsOf(await later.explain(() => readPulse(later, [wholeLine(mine)])))).toBeLessThan(100);
    expect(
      rowsOf(await later.explain(() => readHeads(later, [{ class: mine.id, priority: 0, seq: 0n }]))),
    ).toBeLessThan(100);
  });
});

function isServed({ table, kind, index }: Scan): boolean {
  // By place; or as its bitmap says, which is a scan of its own.
  if (kind === 'Tid Scan' || kind === 'Bitmap Heap Scan') return true;
  if (index === undefined) return ONE_ROW.includes(table);
  return INDEXES.includes(index.replace(/_(\d+|kept)(?=_)/, ''));
}

/** Every hot statement once, on so many items, with the plans of what was sent. */
async function everything(n: number): Promise<Map<string, Explained[]>> {
  const explained = new Map<string, Explained[]>();
  const explain = async <T>(name: string, body: () => Promise<T>): Promise<T> => {
    const answers: T[] = [];
    explained.set(name, await session.explain(async () => answers.push(await body())));
    return answers[0] as T;
  };
  const add = (more: Parameters<typeof addExecutions>[3] = {}) => addExecutions(session, n, line.id, more);
  const take = (leaseMs = 600_000) => takeLeases(session, n, line, { leaseMs });
  const end = (call: number, granted: Granted[], more: Parameters<typeof endingOf>[1] = {}) =>
    endAttempts(
      session,
      call,
      granted.map((one) => endingOf(one, more)),
    );
  const failed = (failureClass: number) => ({
    failure: { class: failureClass, code: null },
    message: 'it broke at 12',
  });
  const keyed = () => ({ tags: { a: 'b' }, input: { type: 'text/plain', body: Buffer.from('hello') } });

  const created = await explain('create', () => add(keyed()));
  const repeated = Array.from({ length: n }, () => {
    const id = uuidV7();
    return newExecution(line.id, { id, requestId: id });
  });
  await createExecutions(session, repeated);
  await explain('create again', () => createExecutions(session, repeated));
  await take().then((granted) => end(EndCall.COMPLETE, granted));
  const held = await explain('claim', () => take());
  await explain('renew', () =>
    renewLeases(
      session,
      held.map((one) => ({ ...heldBy(one), leaseMs: null, progress: null })),
      true,
    ),
  );
  await explain('complete', () => end(EndCall.COMPLETE, held));
  await explain('complete again', () => end(EndCall.COMPLETE, held));
  await add();
  await take().then((granted) => explain('fail', () => end(EndCall.FAIL, granted, failed(1))));
  await add();
  await take().then((granted) => explain('give up', () => end(EndCall.FAIL, granted, failed(2))));
  await add();
  await take().then((granted) => explain('release', () => end(EndCall.RELEASE, granted)));
  await take().then((granted) => explain('delay', () => end(EndCall.DELAY, granted, { delayMs: 1 })));
  await session.sql('select pg_sleep(0.002)');
  await explain('promote', () => sweep(session, 'scheduled', n));
  await add({ deadline: new Date(wallMs() + 30) });
  await add({ ttlMs: 1 });
  await take(1);
  await session.sql('select pg_sleep(0.05)');
  await explain('sweep leases', () => sweep(session, 'leases', n));
  await explain('sweep timers', () => sweep(session, 'timers', n));
  await explain('pulse', () => readPulse(session, [wholeLine(line)]));
  await explain('horizon', () => readHorizon(session));
  await explain('heads', () => readHeads(session, [{ class: line.id, priority: 0, seq: 0n }]));
  await explain('number', () => stepLog(session, 512));
  await explain('fold counts', () => foldCounts(session, 500));
  const { head } = await explain('log head', () => readLogHead(session));
  await explain('read log', () => readLog(session, head > 500n ? head - 500n : 1n, n));
  const ids = created.map(({ execution }) => execution);
  await explain('details', () => readDetails(session, ids, 65_536));
  await explain('states', () => readStates(session, ids));
  const holder = { namespace: NAMESPACE, instance: 'tester', name: 'tester', leaseMs: 600_000, beginMs: null };
  const cancel = (execution: string, now: boolean) =>
    cancelExecution(session, {
      namespace: NAMESPACE,
      execution,
      now,
      graceMs: 1,
      acceptsLate: true,
      actor: 'somebody',
      reason: '',
      lease: null,
    });
  const [waiting, named] = (await addExecutions(session, 2, line.id)).map(({ execution }) => execution);
  await explain('cancel waiting', () => cancel(waiting ?? '', false));
  await explain('claim one', () => claimExecution(session, named ?? '', [], holder));
  await explain('cancel running', () => cancel(named ?? '', true));
  return explained;
}
