/** What the benchmark makes of its samples: the table, the ratios, the verdicts. */
import { describe, expect, it } from 'vitest';
import { judge } from '../../../bench/judge.js';
import type { Measure } from '../../../bench/measures/measure.js';
import { keptReport, report } from '../../../bench/report.js';
import { Recorder, type Results, type Row } from '../../../bench/results.js';
import { quantile, spread } from '../../../bench/statistics.js';
import { partsOf } from '../../../bench/store.js';

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

function results(rows: readonly Row[], cores = 2): Results {
  const machine = { cores, cpu: 'a CPU', memoryGiB: 8, system: 'linux x64', node: 'v20', postgres: '18' };
  return { date: '2026-01-02', version: '0.1.0', commit: '0123abc', scale: 'full', machine, repeats: 3, rows };
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

describe('what is kept', () => {
  const slow = { ...ours, profile: 'slow-commit' as const };
  const other = { ...measure, id: 'P5', once: true as const };

  it('is of one measure and profile each, with the repeats that there were', () => {
    const parts = partsOf(results([ours, slow, theirs, { ...ours, measure: 'P5' }]), [measure, other]);
    expect(parts.map(({ file, part }) => [file, part.repeats, part.rows.length])).toEqual([
      ['results/P1-plain.json', 3, 2],
      ['results/P1-slow-commit.json', 3, 1],
      ['results/P5-plain.json', 1, 1],
    ]);
  });

  it('is shown in the order of measures and profiles, each table with its date and commit', () => {
    const later = { ...results([ours, theirs]), date: '2026-02-03', commit: '4567def' };
    const text = keptReport([results([slow]), later], [measure]);
    expect(text.match(/^### .*|^\*\*2026.* at [^,:]*|^\| P1 .*ahead of graph.*|^\| P1 .*at least 2 .*/gm)).toEqual([
      '### Targets',
      expect.stringMatching(/at least 2 × graphile-worker, defaults .* 2\.5 × .* yes .* 2026-02-03 .* 4567def/),
      '### P1 plain: a measure',
      '**2026-02-03**, Tailrace 0.1.0 at 4567def',
      '### P1 slow-commit: a measure',
      '**2026-01-02**, Tailrace 0.1.0 at 0123abc',
    ]);
  });
});

describe('the results', () => {
  it('hold the samples of all repeats, and nothing of what failed', () => {
    const recorder = new Recorder();
    for (const value of [1, 2]) recorder.add('P1', 'plain', 'us', { value });
    recorder.add('P1', 'slow-commit', 'us', { value: 3 });
    recorder.add('P5', 'plain', 'us', { value: 4 });
    const { rows } = recorder.results({ postgres: '18', scale: 'full', repeats: 2 }, new Set(['P1-slow-commit']));
    expect(rows.map(({ measure, profile, samples }) => [measure, profile, samples])).toEqual([
      ['P1', 'plain', [{ value: 1 }, { value: 2 }]],
      ['P5', 'plain', [{ value: 4 }]],
    ]);
  });
});

describe('the verdicts', () => {
  const one = (name: string, samples: Row['samples'], id: string): Row => ({
    ...{ measure: id, profile: 'plain', contestant: name, samples },
  });
  const texts = (rows: readonly Row[], cores?: number) =>
    judge(results(rows, cores)).map(({ text, measured, reached }) => [text, measured, reached]);

  it('ask for a gain of a second server only where there are cores for it', () => {
    const rows = [one('one server', [{ perSecond: 1_000 }], 'P12'), one('two servers', [{ perSecond: 970 }], 'P12')];
    const notLess = ['not below one server, within 5 %', '0.97 ×', true];
    expect(texts(rows)).toEqual([notLess]);
    expect(texts(rows, 8)).toEqual([
      ['at least 1.6 × one server, where there are cores for both', '0.97 ×', false],
      notLess,
    ]);
  });

  it('see what must never happen in whichever repeat it did', () => {
    const rows = [one('10 sets', [{ misrouted: 0 }, { misrouted: 0 }, { misrouted: 1 }], 'P13')];
    expect(texts(rows)).toEqual([['nothing on a worker that lacks what it asks for', '1', false]]);
  });

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
