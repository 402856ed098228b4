import { describe, expect, it } from 'vitest';
import { byteText } from '../../../src/cli/byte-text.js';
import { ageText, spanMs, spanText, timeMs, timeText } from '../../../src/cli/spans.js';

const NOW = Date.UTC(2030, 0, 31, 12);

describe('lengths of time', () => {
  it.each([
    ['500ms', 500],
    ['0s', 0],
    ['1.5s', 1_500],
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['7d', 604_800_000],
  ])('%s are %s ms', (text, ms) => expect(spanMs(text)).toBe(ms));

  it.each(['', '5', 's', '-1s', '1 s', '1w', '1s2', 'soon'])('"%s" is none', (text) =>
    expect(spanMs(text)).toBeUndefined(),
  );

  it.each([
    [0, '0s'],
    [0.4, '1ms'],
    [20, '20ms'],
    [1_250, '1.2s'],
    [59_999, '1m'],
    [60_000, '1m'],
    [5_400_000, '1h30m'],
    [90_061_000, '1d1h'],
    [-1_000, '-1s'],
  ])('%s ms are told as %s', (ms, text) => expect(spanText(ms)).toBe(text));
});

describe('points in time', () => {
  it.each([
    ['2030-01-31T11:00:00Z', NOW - 3_600_000],
    ['2030-01-31T12:00+01:00', NOW - 3_600_000],
    ['1h', NOW - 3_600_000],
    ['+10m', NOW + 600_000],
  ])('%s', (text, ms) => expect(timeMs(text, NOW)).toBe(ms));

  it.each(['yesterday', '2030-01-31', '2030-13-01T00:00:00Z', '++1h'])('"%s" is none', (text) => {
    expect(timeMs(text, NOW)).toBeUndefined();
  });

  it('are told as people say them, or to the second', () => {
    expect(ageText(NOW - 192_000, NOW)).toBe('3m12s ago');
    expect(ageText(NOW + 1_000, NOW)).toBe('0s ago');
    expect(ageText(NOW + 300_000, NOW)).toBe('in 5m');
    expect(timeText(NOW + 999)).toBe('2030-01-31T12:00:00Z');
  });
});

it.each([
  [0n, '0 B'],
  [1_023n, '1023 B'],
  [1_536n, '1.5 KiB'],
  [15_728_640n, '15 MiB'],
  [2n ** 60n, '1024 PiB'],
])('%s bytes are told as %s', (bytes, text) => expect(byteText(bytes)).toBe(text));
