import { expect, test } from 'vitest';
import { Snapshots } from '../../../src/metrics/snapshots.js';
import type { Snapshot } from '../../../src/repository/metrics/index.js';

const SNAPSHOT = { head: 7n } as Snapshot;

function source(freshMs: number) {
  const said = { reads: 0, fails: false, hangs: false };
  const snapshots = new Snapshots({
    freshMs,
    patienceMs: 20,
    read: async () => {
      said.reads++;
      if (said.hangs) await new Promise(() => undefined);
      if (said.fails) throw new Error('no database');
      return SNAPSHOT;
    },
  });
  return { said, snapshots };
}

test('whoever asks within its time, or while one is read, shares it', async () => {
  const { said, snapshots } = source(60_000);
  const [one, two] = await Promise.all([snapshots.get(), snapshots.get()]);
  expect(one).toBe(two);
  expect((await snapshots.get())?.snapshot.head).toBe(7n);
  expect(said.reads).toBe(1);
});

test('an old one is read anew, and never told in place of one that could not be read', async () => {
  const { said, snapshots } = source(0);
  await snapshots.get();
  said.fails = true;
  expect(await snapshots.get()).toBeUndefined();
  expect([said.reads, snapshots.failures]).toEqual([2, 1]);
  said.fails = false;
  expect(await snapshots.get()).toBeDefined();
});

test('a database that does not answer is waited for a moment only, and not asked twice at once', async () => {
  const { said, snapshots } = source(0);
  said.hangs = true;
  expect(await snapshots.get()).toBeUndefined();
  expect(await snapshots.get()).toBeUndefined();
  expect(said.reads).toBe(1);
});
