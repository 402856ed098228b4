import { describe, expect, it } from 'vitest';
import { wrongMergePatch } from '../../../src/domain/merge-patch.js';

const nested = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`;

describe('a patch of a summary', () => {
  it.each([
    '{}',
    ' {"a": null, "b": [1, -2.5e3, 0.1, 1e308, 5e-324, -0], "c": {"d": true}} ',
    '{"1e999":"1e999 and \\"1e999\\" in a text \\\\"}',
    '{"a":123456789012345678901234567890}',
    '{"a":"\\ud83d\\ude00"}',
    nested(60),
  ])('may be %s', (text) => {
    expect(wrongMergePatch(text)).toBeUndefined();
  });

  it.each([
    ['', 'must be JSON'],
    ['{"a":01}', 'must be JSON'],
    ['[{}]', 'must be a JSON object'],
    ['1', 'must be a JSON object'],
    ['{"a":{"b":["\\u0000"]}}', 'must not contain the character NUL'],
    ['{"\\u0000":1}', 'must not contain the character NUL'],
    ['{"a":"\\ud83d"}', 'must be valid Unicode; it contains half of a surrogate pair'],
    ['{"a":1e309}', 'must contain finite numbers only, as a double holds them; it contains 1e309'],
    ['{"a":[-1E+999]}', 'must contain finite numbers only, as a double holds them; it contains -1E+999'],
    ['{"a":1e-401}', 'must contain finite numbers only, as a double holds them; it contains 1e-401'],
    [nested(70), 'must be at most 64 levels deep'],
  ])('must not be %s', (text, wrong) => {
    expect(wrongMergePatch(text)).toBe(wrong);
  });

  it('is looked through however large it is', () => {
    expect(wrongMergePatch(`{"a":"${'\\"x'.repeat(300_000)}"}`)).toBeUndefined();
    expect(wrongMergePatch(`{"a":[${'1,'.repeat(300_000)}1]}`)).toBeUndefined();
    expect(wrongMergePatch(`{"a":${'9'.repeat(300)}.${'9'.repeat(200)}}`)).toContain('finite');
  });
});
