/** What a process remembers of namespaces, lanes and classes, while others and itself add to them at the same time. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Registry } from '../../src/dispatch/registry.js';
import { Database } from '../../src/repository/database.js';
import { freshDatabase, type TestDatabase } from '../support/postgres.js';

let fresh: TestDatabase;
let database: Database;
beforeAll(async () => {
  fresh = await freshDatabase();
  database = new Database({ url: fresh.url, schema: fresh.schema, connections: 8 });
});
afterAll(async () => {
  await database.close();
  await fresh.drop();
});

const key = (namespace: number, lane: string, type: string) => ({ namespace, lane, type, capabilities: ['gpu'] });
const anything = [new Set<string>(), new Set(['gpu'])] as const;

test('classes that many callers add at once are each known once', async () => {
  const registry = new Registry(database);
  await registry.refresh();
  const namespace = await registry.namespaceFor('many');
  const lanes = Array.from({ length: 12 }, (_, i) => `lane ${i % 4}`);
  const made = await Promise.all(lanes.map((lane, i) => registry.classesFor([key(namespace, lane, `type ${i % 3}`)])));
  const classes = registry.eligible(namespace, [...new Set(lanes)], ...anything).map(({ id }) => id);
  expect(new Set(classes).size).toBe(classes.length);
  expect(new Set(made.flat().map(({ id }) => id))).toEqual(new Set(classes));
});

test('loads that are asked for at once know each class once', async () => {
  const registry = new Registry(database);
  await Promise.all([registry.refresh(), registry.refresh(), registry.refresh()]);
  const namespace = await registry.namespaceFor('many');
  const classes = registry.eligible(namespace, ['lane 0', 'lane 1'], ...anything).map(({ id }) => id);
  expect(classes.length).toBeGreaterThan(0);
  expect(new Set(classes).size).toBe(classes.length);
});

test('two processes that add classes at once agree on them, and each class has its lane', async () => {
  const [one, other] = [new Registry(database), new Registry(database)];
  await Promise.all([one.refresh(), other.refresh()]);
  const namespace = await one.namespaceFor('two');
  for (let round = 0; round < 10; round++) {
    const keys = Array.from({ length: 4 }, (_, i) => key(namespace, `lane ${round}`, `type ${i}`));
    const [left, right] = await Promise.all([one.classesFor(keys), other.classesFor(keys.toReversed())]);
    expect(left.map(({ id }) => id)).toEqual(right.map(({ id }) => id).toReversed());
    for (const made of [...left, ...right]) {
      expect(one.lane(made.lane)?.name).toBe(`lane ${round}`);
      expect(other.lane(made.lane)?.name).toBe(`lane ${round}`);
    }
  }
});

test('a namespace that another process made is found at once', async () => {
  const [one, other] = [new Registry(database), new Registry(database)];
  await Promise.all([one.refresh(), other.refresh()]);
  const made = await one.namespaceFor('young');
  expect(await other.namespace('young')).toBe(made);
  expect(await other.namespace('nobody')).toBeUndefined();
});

test('a load that fails is told to those who asked, and the next one works', async () => {
  const registry = new Registry(database);
  const closed = new Database({ url: fresh.url, schema: fresh.schema, connections: 2 });
  await closed.close();
  const broken = new Registry(closed);
  await expect(Promise.all([broken.refresh(), broken.refresh()])).rejects.toThrow();
  await expect(broken.refresh()).rejects.toThrow();
  await registry.refresh();
  expect(await registry.namespace('default')).toBe(1);
});
