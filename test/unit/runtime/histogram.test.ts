import { expect, test } from 'vitest';
import { Histogram } from '../../../src/runtime/histogram.js';

test('counts each value at the least bound that it does not exceed', () => {
  const histogram = new Histogram([1, 2.5, 10]);
  for (const value of [0, 1, 1.1, 2.5, 9, 10, 10.5, 1e9]) histogram.observe(value);
  expect([...histogram.counts]).toEqual([2, 2, 2, 2]);
  expect([histogram.count, histogram.sum]).toEqual([8, 1e9 + 34.1]);
});
