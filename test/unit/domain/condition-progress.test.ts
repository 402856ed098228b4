import { describe, expect, it } from 'vitest';
import { type Condition, CountDistinct } from '../../../src/domain/condition.js';
import { missingOf, type UntakenSignal } from '../../../src/domain/condition-progress.js';

const signal = (name = '', waitpoint = ''): Condition => ({ kind: 'signal', name, waitpoint });
const count = (most: number, distinct: number, ...among: { name: string; waitpoint: string }[]): Condition => ({
  kind: 'count',
  count: most,
  distinct,
  among,
});
const came = (name: string, waitpoint: string | null = null, source_id = ''): UntakenSignal => ({
  name,
  waitpoint,
  source: 1,
  source_id,
});

describe('what a condition lacks', () => {
  it('is a signal until one fits by name and waitpoint', () => {
    for (const condition of [signal(), signal('go'), signal('', 'desk'), signal('go', 'desk')]) {
      expect(missingOf(condition, [])).toEqual([condition]);
      expect(missingOf(condition, [came('go', 'desk')])).toEqual([]);
    }
    expect(missingOf(signal('go'), [came('stop')])).toHaveLength(1);
    expect(missingOf(signal('', 'desk'), [came('go')])).toHaveLength(1);
  });

  it('is of many members those that do not hold, however deep', () => {
    const deep: Condition = {
      kind: 'all_of',
      members: [signal('a'), { kind: 'all_of', members: [signal('b'), signal('c')] }],
    };
    expect(missingOf(deep, [came('b')])).toEqual([signal('a'), signal('c')]);
    expect(missingOf(deep, [came('a'), came('b'), came('c')])).toEqual([]);
  });

  it('is of a count how many are there, of what it counts once', () => {
    const signals = [came('v', 'x', 'a'), came('v', 'x', 'b'), came('v', null, 'b'), came('w', 'y', 'c')];
    const have = (condition: Condition) =>
      missingOf(condition, signals).map((part) => ('have' in part ? part.have : -1));
    expect(have(count(9, CountDistinct.SIGNALS))).toEqual([4]);
    expect(have(count(9, CountDistinct.WAITPOINTS))).toEqual([2]);
    expect(have(count(9, CountDistinct.SOURCES))).toEqual([3]);
    expect(have(count(9, CountDistinct.SOURCES, { name: 'v', waitpoint: '' }))).toEqual([2]);
    expect(have(count(3, CountDistinct.SOURCES))).toEqual([]);
  });

  it('is an operator or the time, whatever came', () => {
    for (const kind of ['operator_only', 'timeout_only'] as const)
      expect(missingOf({ kind }, [came('go')])).toEqual([{ kind }]);
  });
});
