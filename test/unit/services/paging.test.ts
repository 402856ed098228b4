/** Page tokens that somebody made up: what passes can be given to Postgres, whatever it is. */
import { expect, test } from 'vitest';
import { encodePageToken } from '../../../src/domain/page-token.js';
import { Pages } from '../../../src/services/paging.js';

const BOUND = JSON.stringify(['List', {}]);
const keysIn = (form: 'id' | 'number' | 'position' | 'text', key: string) =>
  new Pages('List', {}, [form]).keys(encodePageToken(BOUND, [key]));

test.each([
  ['id', '018f0000-0000-7000-8000-000000000000'],
  ['number', '999999999'],
  ['position', '999999999999999999'],
  ['text', 'a name, with "anything" in it'],
  ['text', ''],
] as const)('%s %s is a key', (form, key) => {
  expect(keysIn(form, key)).toEqual([key]);
});

test.each([
  ['id', '018F0000-0000-7000-8000-000000000000'],
  ['id', "' or true --"],
  ['number', '2147483648'],
  ['number', '-1'],
  ['number', '1e3'],
  ['position', '9223372036854775808'],
  ['text', 'a\0'],
  ['text', 'half \ud800'],
] as const)('%s %s is none', (form, key) => {
  expect(() => keysIn(form, key)).toThrow(expect.objectContaining({ reason: 'BAD_CURSOR' }));
});

test('too few and too many keys are refused, and no token is the first page', () => {
  const pages = new Pages('List', {}, ['id', 'number']);
  for (const keys of [[], ['018f0000-0000-7000-8000-000000000000'], ['a', 'b', 'c']]) {
    expect(() => pages.keys(encodePageToken(BOUND, keys))).toThrow(expect.objectContaining({ reason: 'BAD_CURSOR' }));
  }
  expect(pages.keys('')).toBeUndefined();
  expect(pages.token(undefined)).toBe('');
  const token = pages.token(['018f0000-0000-7000-8000-000000000000', 7]);
  expect(pages.keys(token)).toEqual(['018f0000-0000-7000-8000-000000000000', '7']);
  expect(() => new Pages('List', { lane: 'other' }, ['id', 'number']).keys(token)).toThrow(/another list/);
});
