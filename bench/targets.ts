/** What the figures are to reach: three that a release depends on, and what the design promises beyond them. */
import { AT_ONCE } from './measures/events.js';
import { BESIDE } from './measures/fairness.js';
import { LIMITING } from './measures/limits.js';
import { STEADY } from './measures/routing.js';
import { batchSql } from './peers/batch-sql.js';
import { handedOn } from './peers/chains.js';
import { graphileBatched, graphileDefaults } from './peers/graphile-worker.js';
import { bossBatched } from './peers/pg-boss.js';
import { tailraceRaw } from './peers/tailrace.js';
import { signaledById } from './peers/tailrace-waits.js';

/** The median of one contestant's figure. */
export interface Find {
  (contestant: string, key: string): number | undefined;
  /** Of every contestant of the measure. */
  readonly all: (key: string) => number[];
}

export interface Target {
  readonly measure: string;
  readonly text: string;
  /** Whether a release depends on it. */
  readonly required?: true;
  readonly unit: string;
  /** Undefined when what it needs was not measured. */
  readonly value: (find: Find) => number | undefined;
  readonly reached: (value: number) => boolean;
}

const us = tailraceRaw.name;
const atLeast = (bound: number) => (value: number) => value >= bound;
const atMost = (bound: number) => (value: number) => value <= bound;
const below = (bound: number) => (value: number) => value < bound;

const figureOf = (contestant: string, key: string) => (find: Find) => find(contestant, key);

/** How many times another's rate ours is. */
const times = (bound: number, other: string): Target => ({
  measure: 'P1',
  text: bound === 1 ? `ahead of ${other}` : `at least ${bound} × ${other}`,
  unit: '×',
  value: (find) => ratio(find(us, 'perSecond'), find(other, 'perSecond')),
  reached: atLeast(bound),
});

/** However long the line, and whatever stands in it. */
const flat = (key: string): Target => ({
  measure: 'P4',
  text: `slowest line within 1.5 × of the fastest, ${key}`,
  unit: '×',
  value: (find) => range(find.all(key)),
  reached: atMost(1.5),
});

const wait = (text: string, load: string, key: string): Target => ({
  measure: 'P8',
  text,
  unit: 'ms',
  value: figureOf(`${signaledById.name}, ${load}`, key),
  reached: below(15),
});

const unbound = (load: string, name: string, key: string): Target => ({
  measure: 'LIMITS',
  text: `at least 0.9 × without, ${load}: ${name}`,
  unit: '×',
  value: figureOf(name, key),
  reached: atLeast(0.9),
});

const beside = (text: string, key: string): Target => ({
  measure: 'FAIRNESS',
  text,
  unit: '×',
  value: figureOf(BESIDE, key),
  reached: atMost(1.5),
});

export const TARGETS: readonly Target[] = [
  { ...times(2, graphileDefaults.name), required: true },
  times(4, graphileDefaults.name),
  times(1, graphileBatched.name),
  times(1, bossBatched.name),
  times(0.6, batchSql.name),
  {
    measure: 'P1',
    text: 'P11: at most 3 KB of WAL each',
    unit: 'B',
    value: figureOf(us, 'wal'),
    reached: atMost(3_000),
  },
  {
    measure: 'P2',
    text: 'at least 0.8 × the echo',
    unit: '×',
    value: (find) =>
      ratio(find('Tailrace, create one', 'perSecond'), find('an echo call on the same server', 'perSecond')),
    reached: atLeast(0.8),
  },
  { measure: 'P3', text: '1,000 per second', unit: '/s', value: figureOf(us, 'offered'), reached: atLeast(1_000) },
  { measure: 'P3', text: 'p50 below 10 ms', unit: 'ms', value: figureOf(us, 'p50'), reached: below(10) },
  { measure: 'P3', text: 'p99 below 25 ms', unit: 'ms', value: figureOf(us, 'p99'), reached: below(25) },
  { ...flat('p50'), required: true },
  flat('p99'),
  flat('pages'),
  {
    measure: 'P6',
    text: '100 flows per second',
    unit: '/s',
    value: figureOf(handedOn.name, 'perSecond'),
    reached: atLeast(100),
  },
  {
    measure: 'P6',
    text: 'hop p50 below 15 ms, 100 flows at once',
    unit: 'ms',
    value: figureOf(handedOn.name, 'p50'),
    reached: below(15),
  },
  {
    measure: 'P6',
    text: 'hop p50 below 15 ms, 100 flows per second',
    unit: 'ms',
    value: figureOf(handedOn.name, 'steadyP50'),
    reached: below(15),
  },
  {
    measure: 'P6B',
    text: 'a member of the widest join within 1.5 × of the cheapest',
    unit: '×',
    value: (find) => {
      const [, ...joins] = find.all('each');
      return ratio(joins.at(-1), Math.min(...joins));
    },
    reached: atMost(1.5),
  },
  {
    measure: 'P6C',
    text: 'pages of a slot within 1.5 ×, whatever the width',
    unit: '×',
    value: (find) => range(find.all('pages').slice(1)),
    reached: atMost(1.5),
  },
  {
    measure: 'P7',
    text: 'p99 below 200 ms',
    unit: 'ms',
    value: (find) => find.all('p99')[0],
    reached: below(200),
  },
  wait('resume p50 below 15 ms, alone', 'alone', 'p50'),
  wait('resume p50 below 15 ms, 100 per second', '100 per second', 'p50'),
  wait('resume p50 below 15 ms, 16 at once', '16 at once', 'p50'),
  wait('whole cycle p50 below 15 ms, alone', 'alone', 'cycleP50'),
  wait('whole cycle p50 below 15 ms, 100 per second', '100 per second', 'cycleP50'),
  {
    measure: 'P9',
    text: 'p99 below 50 ms with 100 subscribers',
    unit: 'ms',
    value: figureOf('100 subscribers', 'p99'),
    reached: below(50),
  },
  {
    measure: 'P9',
    text: 'next to no statements for a subscriber more',
    unit: '/s',
    value: figureOf('each subscriber more', 'perSecondStatements'),
    // One that asked the database by itself would send several.
    reached: below(0.5),
  },
  ...LIMITING.flatMap((name) => [
    unbound('claimed and completed', name, 'workedShare'),
    unbound('the load of P1', name, 'share'),
  ]),
  beside('p99 of all keys within 1.5 × of that without', 'share'),
  beside("worst key's p99 within 1.5 × of that without", 'worstShare'),
  {
    measure: 'FRAMES',
    text: 'p99 below 100 ms, 200 streams with 2 readers each',
    unit: 'ms',
    value: figureOf('200 streams, 2 readers each', 'p99'),
    reached: below(100),
  },
  {
    measure: 'FRAMES',
    text: '4,000 frames per second, 200 streams with 2 readers each',
    unit: '/s',
    value: figureOf('200 streams, 2 readers each', 'reached'),
    // The last of them are still on their way when the clock stops.
    reached: atLeast(3_900),
  },
  {
    measure: 'APPENDS',
    text: 'pages within 1.5 ×, however long the output',
    unit: '×',
    value: (find) => range(find.all('pages').slice(0, 2)),
    reached: atMost(1.5),
  },
  {
    measure: 'EVENTS',
    text: 'p50 below 20 ms, 500 per second',
    unit: 'ms',
    value: figureOf(AT_ONCE, 'p50'),
    reached: below(20),
  },
  {
    measure: 'EVENTS',
    text: 'p99 below 60 ms, 500 per second',
    unit: 'ms',
    value: figureOf(AT_ONCE, 'p99'),
    reached: below(60),
  },
  {
    measure: 'ROUTING',
    text: '5,000 per second for a minute, three at once',
    unit: '/s',
    value: (find) => {
      const offered = find(STEADY, 'offered');
      return offered === undefined || find(STEADY, 'keptUp') === 1 ? offered : 0;
    },
    reached: atLeast(5_000),
  },
  {
    measure: 'HOT-FLOW',
    text: 'slowest thousand within 1.5 × of the fastest',
    unit: '×',
    value: (find) => range(find.all('perSecond')),
    reached: atMost(1.5),
  },
  {
    measure: 'HOT-FLOW',
    text: 'pages of an event within 1.5 ×, however long the line',
    unit: '×',
    value: (find) => range(find.all('pages')),
    reached: atMost(1.5),
  },
  {
    measure: 'P10',
    text: 'fewer than 2 statements per second',
    unit: '/s',
    value: (find) => find.all('statements')[0],
    reached: below(2),
    required: true,
  },
  {
    measure: 'P10',
    text: 'less than 1 % of a core',
    unit: '%',
    value: (find) => find.all('serverCpu')[0],
    reached: below(1),
  },
];

function ratio(value: number | undefined, of: number | undefined): number | undefined {
  return value === undefined || of === undefined ? undefined : value / of;
}

function range(values: readonly number[]): number | undefined {
  return values.length < 2 ? undefined : Math.max(...values) / Math.min(...values);
}
