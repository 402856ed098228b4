/** Claims over their lines: where they begin to read, who is woken, and what a drain or a hang-up leaves. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type ClaimAsk, Lines } from '../../src/dispatch/lines.js';
import { Registry } from '../../src/dispatch/registry.js';
import type { Granted } from '../../src/repository/claims/index.js';
import { Database } from '../../src/repository/database.js';
import { createExecutions, type NewExecution } from '../../src/repository/executions/index.js';
import { uuidV7 } from '../../src/runtime/random.js';
import { eventually } from '../support/eventually.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

let fresh: TestDatabase;
let database: Database;
let registry: Registry;
let lines: Lines;
let lane = 0;
beforeAll(async () => {
  fresh = await freshDatabase();
  database = new Database({ url: fresh.url, schema: fresh.schema, connections: 6 });
  registry = new Registry(database);
  await registry.refresh();
});
beforeEach(() => {
  lines = new Lines(database, registry);
  lane++;
});
afterEach(() => lines.close());
afterAll(async () => {
  await database.close();
  await fresh.drop();
});

const never = new AbortController().signal;

async function add(count: number, priority = 0, type = 'work'): Promise<number> {
  const [line] = await registry.classesFor([{ namespace: 1, lane: `lane ${lane}`, type, capabilities: [] }]);
  const item = (): NewExecution => ({
    id: uuidV7(),
    namespace: 1,
    class: line?.id ?? 0,
    requestId: null,
    hash: Buffer.alloc(0),
    priority,
    runAt: null,
    delayMs: null,
    ttlMs: null,
    deadline: null,
    timeoutMs: null,
    retry: { maxAttempts: null, initialMs: null, factor: null, capMs: null, maxReclaims: null, countLost: null },
    tags: {},
    input: null,
    redrive: null,
    flow: null,
    parent: null,
    concurrencyKey: null,
  });
  await createExecutions(database, Array.from({ length: count }, item));
  return line?.id ?? 0;
}

const ask = (limit: number, more: Partial<ClaimAsk> = {}): ClaimAsk => ({
  namespace: 1,
  lanes: new Map([[`lane ${lane}`, 1]]),
  types: new Set(),
  capabilities: new Set(),
  limit,
  waitMs: 0,
  holder: { namespace: 1, instance: 'tester', name: 'tester', leaseMs: 60_000, beginMs: null },
  ...more,
});

/** Where the next claim begins to read, for each stretch of the lane. */
async function begins(): Promise<bigint[]> {
  const leave = new AbortController();
  const waiting = lines.claim(ask(1, { waitMs: 10_000 }), leave.signal);
  const from = lines.waitedFor().map(({ fromSeq }) => fromSeq);
  leave.abort();
  await waiting;
  return from;
}

describe('lower bounds', () => {
  test('pass what was drained, also when nothing new has come', async () => {
    await add(40);
    await add(5, 7);
    const granted: Granted[] = [];
    for (let drained = 0; drained < 45; drained += 15) {
      granted.push(...(await lines.claim(ask(15), never)));
      await lines.moveBounds();
    }
    expect(granted).toHaveLength(45);
    // A transaction of anybody's in the same cluster may hold them back for a while.
    await eventually(async () => {
      await lines.moveBounds();
      const [first, ...known] = await begins();
      // Priorities nobody has met yet lie before and between.
      return first === 0n && known.length === 2 && known.every((from) => granted.every(({ seq }) => seq < from));
    });
  });

  test('ask nothing of the database once they have caught up', async () => {
    await add(3);
    await lines.claim(ask(3), never);
    // A transaction of anybody's in the same cluster may hold them back for a while.
    await eventually(async () => {
      const before = database.sent;
      await lines.moveBounds();
      return database.sent === before;
    });
  });

  test('find what comes after them, at old and new priorities', async () => {
    await add(3);
    await lines.claim(ask(3), never);
    for (let i = 0; i < 3; i++) await lines.moveBounds();
    await add(1, 5);
    await add(1);
    await add(1, -5);
    const granted = await lines.claim(ask(9), never);
    expect(granted.map(({ priority }) => priority).sort((a, b) => a - b)).toEqual([-5, 0, 5]);
  });
});

describe('waiting', () => {
  test('ends with the first work of a fitting class, and not before', async () => {
    await add(0);
    const claim = lines.claim(ask(5, { types: new Set(['wanted']), waitMs: 20_000 }), never);
    const other = await add(1, 0, 'other');
    lines.wake(other, 1);
    await registry.classesFor([{ namespace: 1, lane: `lane ${lane}`, type: 'wanted', capabilities: [] }]);
    const wanted = await add(2, 0, 'wanted');
    lines.wake(wanted, 2);
    expect((await claim).map((granted) => granted.class)).toEqual([wanted, wanted]);
  });

  test('ends empty when the caller hangs up, or the lines close, and takes nothing with it', async () => {
    const id = await add(0);
    const leave = new AbortController();
    const waits = [
      lines.claim(ask(1, { waitMs: 10_000 }), leave.signal),
      lines.claim(ask(1, { waitMs: 10_000 }), never),
    ];
    leave.abort();
    expect(await waits[0]).toEqual([]);
    lines.close();
    expect(await waits[1]).toEqual([]);
    await add(1);
    lines.wake(id, 1);
    expect(await lines.claim(ask(1), never)).toEqual([]);
    expect(await new Lines(database, registry).claim(ask(1), never)).toHaveLength(1);
  });

  test('a caller who left while others were served takes nothing', async () => {
    await add(5);
    const holder = new pg.Client({ connectionString: fresh.url });
    await holder.connect();
    await holder.query('begin');
    await holder.query(`lock table ${fresh.schema}.ready in access exclusive mode`);
    const served = Array.from({ length: 4 }, () => lines.claim(ask(1), never));
    const leave = new AbortController();
    const left = lines.claim(ask(1), leave.signal);
    leave.abort();
    await holder.query('commit');
    await holder.end();
    expect((await Promise.all(served)).flat()).toHaveLength(4);
    expect(await left).toEqual([]);
    expect(await lines.claim(ask(5), never)).toHaveLength(1);
  });

  test('many claims at once share the work: each execution goes to one of them', async () => {
    await add(100);
    const granted = (await Promise.all(Array.from({ length: 20 }, () => lines.claim(ask(7), never)))).flat();
    const ids = granted.map(({ execution }) => execution);
    expect(new Set(ids).size).toBe(ids.length);
    const rest = await lines.claim(ask(100), never);
    expect(ids.length + rest.length).toBe(100);
  });
});
