/** When a claim may spare itself the look into its lines, and when it must not. */
import { beforeEach, describe, expect, it } from 'vitest';
import { EmptyLines } from '../../../src/dispatch/empty-lines.js';

let lines: EmptyLines;
beforeEach(() => {
  lines = new EmptyLines();
});

describe('lines', () => {
  it('count as empty once somebody has looked, for a moment', () => {
    expect(lines.all([1], 100)).toBe(false);
    lines.saw([1, 2], 100);
    expect(lines.all([1, 2], 200)).toBe(true);
    expect(lines.all([1, 2, 3], 200)).toBe(false);
    expect(lines.all([1], 1_601)).toBe(false);
  });

  it('stay empty while looks confirm it', () => {
    for (let now = 0; now <= 10_000; now += 1_000) lines.saw([1], now);
    expect(lines.all([1], 11_000)).toBe(true);
  });

  it('are looked into when something became claimable', () => {
    lines.saw([1, 2], 100);
    lines.filled(1, 150);
    expect(lines.all([1], 200)).toBe(false);
    expect(lines.all([2], 200)).toBe(true);
    lines.filledAny(160);
    expect(lines.all([2], 200)).toBe(false);
  });

  it('do not count as empty by a look that may have begun before that', () => {
    lines.filled(1, 150);
    lines.saw([1], 150);
    expect(lines.all([1], 200)).toBe(false);
    lines.saw([1], 151);
    expect(lines.all([1], 200)).toBe(true);
    lines.filledAny(300);
    lines.saw([1], 299);
    expect(lines.all([1], 310)).toBe(false);
  });
});
