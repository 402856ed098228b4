import { describe, expect, test } from 'vitest';
import { AttemptMeters } from '../../../src/dispatch/attempt-meters.js';
import { NamedLanes } from '../../../src/dispatch/named-lanes.js';
import type { Registry } from '../../../src/dispatch/registry.js';
import type { Granted } from '../../../src/repository/claims/index.js';

/** Class 10n is of lane n; lanes are of namespace 1 or, from the third on, 2. */
function registryOf(lanes: number[], version = 1n): Registry {
  const known = {
    version,
    laneIds: () => lanes,
    namespaceIds: () => [1, 2],
    namespaceName: (id: number) => (id === 1 ? 'default' : 'acme'),
    lane: (id: number) => ({ namespace: id < 3 ? 1 : 2, name: `lane ${id}` }),
    claimClass: (id: number) => ({ lane: id / 10 }),
  };
  return known as unknown as Registry;
}

const at = (seconds: number) => new Date(1_000_000 + seconds * 1_000);

function granted(lease: string, classId: number, more: Partial<Granted> = {}): Granted {
  const times = { ready_at: at(0), started_at: at(2), expires_at: at(12) };
  return { lease, class: classId, kind: 1, resume: false, ...times, ...more } as Granted;
}

function metersOf(lanes: number[], most = 100) {
  const registry = registryOf(lanes);
  return new AttemptMeters(registry, new NamedLanes(registry, most));
}

describe('attempts', () => {
  test('are timed by the database from claimable to claimed, and to the end that the holder reported', () => {
    const meters = metersOf([1]);
    meters.granted([granted('a', 10), granted('b', 10, { kind: 2 })], 10_000);
    meters.ended('a', { class: 10, outcome: 1, ended_at: at(5) });
    const [lane] = meters.lanes;
    expect([lane?.claimTimes.sum, lane?.runTimes.count, lane?.runTimes.sum]).toEqual([4, 1, 3]);
    expect(lane?.starts).toEqual([
      ['initial', 1],
      ['retry', 1],
    ]);
    expect(lane?.ends).toEqual([['succeeded', 1]]);
  });

  test('that go on after a wait are timed from the lease that lets them go on', () => {
    const meters = metersOf([1]);
    meters.granted(
      [granted('a', 10, { resume: true, ready_at: at(1), started_at: at(-500), expires_at: at(14) })],
      10_000,
    );
    meters.ended('a', { class: 10, outcome: 2, ended_at: at(6) });
    const [lane] = meters.lanes;
    expect([lane?.claimTimes.sum, lane?.runTimes.sum, lane?.starts]).toEqual([3, 2, [['resumed', 1]]]);
  });

  test('that were claimed elsewhere count as ended, without a time', () => {
    const meters = metersOf([1]);
    meters.ended('unknown', { class: 10, outcome: 5, ended_at: at(6) });
    const [lane] = meters.lanes;
    expect([lane?.runTimes.count, lane?.ends]).toEqual([0, [['released', 1]]]);
  });
});

describe('lanes', () => {
  test('beyond the bound are one, and the oldest keep their names', () => {
    const registry = registryOf([5, 3, 1, 4, 2]);
    const named = new NamedLanes(registry, 2);
    const meters = new AttemptMeters(registry, named);
    meters.granted([granted('a', 50), granted('b', 20), granted('c', 40)], 10_000);
    expect([...meters.lanes].map(({ lane, claimTimes }) => [named.labels(lane), claimTimes.count])).toEqual([
      [{ namespace: 'other', lane: 'other' }, 2],
      [{ namespace: 'default', lane: 'lane 2' }, 1],
    ]);
    expect(named.last).toBe(2);
  });
});
