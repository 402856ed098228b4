/** Watches and waits over a real database: what they deliver, where they begin, and what they cost. */
import { setMaxListeners } from 'node:events';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ALL_NAMESPACES, cursorAt } from '../../../src/domain/cursor.js';
import { readLogHead } from '../../../src/repository/log/index.js';
import { ensureNamespace, readNamespaces } from '../../../src/repository/registry/index.js';
import { LogEngine, NAMESPACE, SUCCEEDED, uuidV7 } from '../../support/log-engine.js';
import { freshDatabase, type TestDatabase } from '../../support/postgres.js';

let database: TestDatabase;
let engine: LogEngine;

beforeAll(async () => {
  database = await freshDatabase();
  engine = new LogEngine(database, { pageEntries: 16, heartbeatMs: 50 });
});

afterAll(async () => {
  await engine.stop();
  await database.drop();
  expect(engine.errors).toEqual([]);
});

const never = new AbortController().signal;
setMaxListeners(0, never);

test('a completion carries names, tags, times and result', async () => {
  const watch = engine.completions('latest');
  expect((await watch.next()).records).toEqual([]);
  const [id] = await engine.run(1, { lane: 'mail', type: 'send', tags: { customer: '7' } });
  const [record] = await watch.take(1);
  expect(record).toMatchObject({ namespace: 'default', lane: 'mail', type: 'send', terminal: true });
  expect(record?.detail).toMatchObject({ id, tags: { customer: '7' }, redriveOf: null });
  expect(record?.detail?.outcome).toMatchObject({ state: SUCCEEDED, attempt: 1, letter: null, resultOmitted: false });
  expect(record?.detail?.outcome?.result?.toString()).toBe('done');
  expect(record?.detail?.outcome?.startedAt).toBeInstanceOf(Date);
  await watch.hangUp();
});

test('a result over the inline limit is left out and said so', async () => {
  const watch = engine.completions('latest');
  await watch.next();
  await engine.create(1, { type: 'large' });
  await engine.complete(await engine.claim(1, { type: 'large' }), 'x'.repeat(64 * 1024 + 1));
  const [record] = await watch.take(1);
  expect(record?.detail?.outcome).toMatchObject({ result: null, resultOmitted: true });
  await watch.hangUp();
});

test('from the earliest, from a cursor and live: the same entries, none twice', async () => {
  const live = engine.watch('latest');
  const { cursor } = await live.next();
  const ids = await engine.run(40);
  const seen = await live.take(160);
  const again = engine.watch({ cursor });
  expect((await again.take(160)).map((record) => record.entry)).toEqual(seen.map((record) => record.entry));

  const half = engine.watch({ cursor });
  const first = await half.take(50);
  await half.hangUp();
  const rest = engine.watch({ cursor: half.cursor });
  await engine.run(5);
  const more = await rest.take(180 - first.length);
  const positions = [...first, ...more].map((record) => record.entry.position);
  expect(positions).toHaveLength(180);
  expect(positions).toEqual(positions.map((_, i) => (positions[0] ?? 0n) + BigInt(i)));

  const everything = engine.completions('earliest');
  const head = await engine.settled();
  const ended = new Set<string>();
  while (ended.size < 40) {
    for (const { entry } of (await everything.next()).records) {
      expect(entry.position).toBeLessThanOrEqual(head);
      if (entry.execution && ids.includes(entry.execution)) ended.add(entry.execution);
    }
  }
  for (const watch of [live, again, rest, everything]) await watch.hangUp();
});

test('filters select by every field', async () => {
  const [other] = await readNamespaces(engine.database).then(async (known) => {
    await ensureNamespace(engine.database, 'other');
    return (await readNamespaces(engine.database)).filter(({ id }) => !known.some((one) => one.id === id));
  });
  const foreign = other?.id ?? 0;
  const begin = await engine.settled();
  const start = cursorAt({ namespace: NAMESPACE, incarnation: await incarnation() }, begin);
  const everywhere = cursorAt({ namespace: ALL_NAMESPACES, incarnation: await incarnation() }, begin);
  const [a] = await engine.run(1, { lane: 'a', type: 'one', tags: { k: '1', l: 'x' } });
  const [b] = await engine.run(1, { lane: 'b', type: 'two', tags: { k: '2' } });
  const [c] = await engine.run(1, { namespace: foreign, lane: 'a', type: 'one', tags: { k: '1' } });
  const CREATED = 1;
  const cases = [
    { filter: { lanes: ['a'] }, expected: [a] },
    { filter: { types: ['two', 'none'] }, expected: [b] },
    { filter: { tags: { k: '1' } }, expected: [a] },
    { filter: { tags: { k: '1', l: 'y' } }, expected: [] },
    { filter: { execution: b }, expected: [b] },
    { filter: { outcomes: [SUCCEEDED] }, expected: [a, b] },
    { filter: { outcomes: [SUCCEEDED + 1] }, expected: [] },
    { filter: { kinds: [CREATED], terminal: false }, expected: [a, b] },
    { filter: { flow: uuidV7() }, expected: [] },
    { filter: { namespace: ALL_NAMESPACES }, expected: [a, b, c] },
  ];
  for (const { filter, expected } of cases) {
    const watch = engine.watch(
      { cursor: filter.namespace === undefined ? start : everywhere },
      { terminal: true, ...filter },
    );
    const head = await engine.settled();
    const seen: (string | null)[] = [];
    const reached = cursorAt({ namespace: filter.namespace ?? NAMESPACE, incarnation: await incarnation() }, head);
    for (let at = ''; at !== reached; ) {
      const message = await watch.next();
      seen.push(...message.records.map(({ entry }) => entry.execution));
      at = message.cursor;
    }
    expect(seen, JSON.stringify(filter)).toEqual(expected);
    await watch.hangUp();
  }
});

test('an idle watch tells the head', async () => {
  const watch = engine.watch('latest', { types: ['nobody'] });
  const { cursor } = await watch.next();
  await engine.run(1);
  let moved = await watch.next();
  while (moved.cursor === cursor) moved = await watch.next();
  expect(moved.records).toEqual([]);
  await watch.hangUp();
});

test('cursors of strangers, from the future and from before the floor are refused', async () => {
  const scope = { namespace: NAMESPACE, incarnation: await incarnation() };
  const head = await engine.settled();
  const refusals = [
    [cursorAt({ ...scope, namespace: ALL_NAMESPACES }, 1n), 'BAD_CURSOR'],
    [cursorAt({ ...scope, incarnation: uuidV7() }, 1n), 'BAD_CURSOR'],
    [cursorAt(scope, head + 1_000n), 'BAD_CURSOR'],
    ['nonsense', 'BAD_CURSOR'],
  ] as const;
  for (const [cursor, reason] of refusals) {
    await expect(engine.watch({ cursor }).next()).rejects.toMatchObject({ reason });
  }
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query('update tailrace.log_incarnation set floor = 5');
  try {
    const pruned = engine.watch({ cursor: cursorAt(scope, 4n) }).next();
    await expect(pruned).rejects.toMatchObject({
      reason: 'CURSOR_PRUNED',
      metadata: { earliest_cursor: cursorAt(scope, 5n) },
    });
    const watch = engine.watch('earliest');
    expect((await watch.take(1))[0]?.entry.position).toBe(6n);
    await watch.hangUp();
  } finally {
    await client.query('update tailrace.log_incarnation set floor = 0');
    await client.end();
  }
});

test('a hundred watchers and a hundred waiters cost what one does', async () => {
  const sentBy = async (watchers: number) => {
    const watches = Array.from({ length: watchers }, () => engine.completions('latest'));
    for (const watch of watches) await watch.next();
    const following = watches.map((watch) => watch.take(20));
    await engine.run(1);
    const ids = await engine.create(19);
    const waits = ids.flatMap((id) =>
      Array.from({ length: watchers / 20 }, () =>
        engine.live.awaitEnds({ namespace: NAMESPACE, ids: [id], any: false, timeoutMs: 10_000 }, never),
      ),
    );
    const granted = await engine.claim(19);
    const before = engine.database.sent;
    await engine.complete(granted);
    for (const records of await Promise.all(following)) expect(records).toHaveLength(20);
    for (const [end] of (await Promise.all(waits)).map((known) => [...known.values()])) {
      expect(end?.outcome?.state).toBe(SUCCEEDED);
    }
    const sent = engine.database.sent - before;
    for (const watch of watches) await watch.hangUp();
    return sent;
  };
  await sentBy(20);
  // One completion, a step or two, a page or two with their details.
  expect(await sentBy(100)).toBeLessThan(20);
});

test('await: all, any, timeout, nothing to wait for, not there', async () => {
  const [first = '', second = ''] = await engine.create(2, { type: 'awaited' });
  const wait = (ids: string[], any: boolean, timeoutMs: number) =>
    engine.live.awaitEnds({ namespace: NAMESPACE, ids, any, timeoutMs }, never);

  const now = await wait([first, second], false, 0);
  expect(now.get(first)).toMatchObject({ state: 3, type: 'awaited', lane: 'default' });
  const late = await wait([first, second], false, 30);
  expect(late.get(second)?.outcome).toBeUndefined();

  const any = wait([first, second], true, 10_000);
  const all = wait([first, second], false, 10_000);
  const [one] = await engine.claim(1, { type: 'awaited' });
  if (one) await engine.complete([one]);
  expect([...(await any).values()].map(({ state }) => state).sort()).toEqual([3, SUCCEEDED]);
  await engine.complete(await engine.claim(1, { type: 'awaited' }));
  expect([...(await all).values()].map(({ state }) => state)).toEqual([SUCCEEDED, SUCCEEDED]);
  expect((await wait([first], false, 10_000)).get(first)?.outcome?.result?.toString()).toBe('done');

  const stranger = uuidV7();
  expect((await wait([first, stranger], false, 10_000)).has(stranger)).toBe(false);
  const elsewhere = { namespace: NAMESPACE + 1, ids: [first], any: false, timeoutMs: 10_000 };
  expect((await engine.live.awaitEnds(elsewhere, never)).size).toBe(0);
});

test('an end in the instant of the question is never missed', async () => {
  const ids = await engine.create(200, { type: 'instant' });
  const granted = await engine.claim(200, { type: 'instant' });
  const waits = ids.map((id, i) => {
    const end = granted.find(({ execution }) => execution === id);
    const wait = engine.live.awaitEnds({ namespace: NAMESPACE, ids: [id], any: false, timeoutMs: 20_000 }, never);
    return Promise.all([wait, end && i % 4 ? engine.complete([end]) : undefined]);
  });
  await engine.complete(granted.filter(({ execution }) => ids.indexOf(execution) % 4 === 0));
  for (const [known] of await Promise.all(waits)) {
    expect([...known.values()].map(({ state }) => state)).toEqual([SUCCEEDED]);
  }
});

async function incarnation(): Promise<string> {
  return (await readLogHead(engine.database)).incarnation;
}
