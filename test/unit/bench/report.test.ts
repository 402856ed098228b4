/** What the benchmark makes of its samples: the table, the ratios, the verdicts. */
import { describe, expect, it } from 'vitest';
import { judge } from '../../../bench/judge.js';
import type { Measure } from '../../../bench/measures/measure.js';
import { report } from '../../../bench/report.js';
import type { Results, Row } from '../../../bench/results.js';
import { quantile, spread } from '../../../bench/statistics.js';

const measure: Measure = {
  id: 'P1',
  title: 'a measure',
  about: 'How it is measured.',
  columns: [
    { key: 'perSecond', title: 'per second' },
    { key: 'wal', title: 'WAL' },
    { key: 'cpu', title: 'CPU', digits: 1 },
  ],
  ratio: { column: 'perSecond', to: 'graphile-worker, defaults', title: '× base' },
  everyProfile: true,
  run: async () => undefined,
};

function results(rows: readonly Row[]): Results {
  const machine = { cores: 2, cpu: 'a CPU', memoryGiB: 8, system: 'linux x64', node: 'v20', postgres: '18' };
  return { date: '2026-01-02', version: '0.1.0', machine, repeats: 3, rows };
}

function row(contestant: string, perSecond: readonly number[]): Row {
  const samples = perSecond.map((value) => ({ perSecond: value, cpu: Number.NaN }));
  return { measure: 'P1', profile: 'plain', contestant, samples };
}

const ours = row('Tailrace, generated clients', [3_000, 6_600, 5_000]);
const theirs = row('graphile-worker, defaults', [2_000, 2_000, 2_000]);

describe('the table', () => {
  it('shows median and spread, ratios of medians, and nothing for what was not measured', () => {
    const text = report(results([ours, theirs]), [measure]);
    expect(text).toContain('| Tailrace, generated clients | 5,000 (3,000–6,600) |   2.50 |   – |');
    expect(text).toContain('| graphile-worker, defaults   |               2,000 |   1.00 |   – |');
    expect(text).not.toContain('WAL');
  });

  it('leaves out profiles and measures nobody ran', () => {
    expect(report(results([ours]), [measure])).not.toContain('slow-commit');
    expect(report(results([]), [measure])).not.toContain('a measure');
  });
});

describe('the verdicts', () => {
  it('say what was reached, profile by profile, and skip what lacks a figure', () => {
    const slow = { ...ours, profile: 'slow-commit' as const };
    const verdicts = judge(results([ours, theirs, slow]));
    expect(verdicts.map(({ profile, measured, reached, required }) => [profile, measured, reached, required])).toEqual([
      ['plain', '2.5 ×', true, true],
      ['plain', '2.5 ×', false, false],
    ]);
  });
});

describe('figures', () => {
  it('are quantiles of one run, and median, least and most of several', () => {
    expect([quantile([5, 1, 3, 2, 4], 0.5), quantile([5, 1, 3, 2, 4], 1), quantile([], 0.5)]).toEqual([
      3,
      5,
      Number.NaN,
    ]);
    expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, least: 1, most: 4 });
    expect(spread([])).toBeUndefined();
  });
});
