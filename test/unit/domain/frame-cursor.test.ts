import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cursorAt } from '../../../src/domain/cursor.js';
import { decodeFrameCursor, encodeFrameCursor } from '../../../src/domain/frame-cursor.js';

const execution = '0198a0a0-1111-7000-8000-00000000abcd';
const other = '0198a0a0-1111-7000-8000-00000000abce';
const CURSOR = encodeFrameCursor({ execution, attempt: 3, durable: 10, version: 2, passing: 5_000_000_000 });

describe('cursors in output', () => {
  it('come back as they were', () => {
    const counter = fc.integer({ min: 0, max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(
        counter,
        counter,
        fc.integer({ min: -1, max: 2 ** 31 - 1 }),
        fc.maxSafeNat(),
        (attempt, durable, version, passing) => {
          const cursor = { execution, attempt, durable, version, passing };
          expect(decodeFrameCursor(encodeFrameCursor(cursor), execution)).toEqual(cursor);
        },
      ),
    );
  });

  it('are refused when anything of them is changed', () => {
    const { length } = CURSOR;
    fc.assert(
      fc.property(fc.nat(length - 1), fc.constantFrom(...'Aa09-_= '), (at, letter) => {
        fc.pre(CURSOR[at] !== letter);
        const damaged = CURSOR.slice(0, at) + letter + CURSOR.slice(at + 1);
        expect(() => decodeFrameCursor(damaged, execution)).toThrow(expect.objectContaining({ reason: 'BAD_CURSOR' }));
      }),
    );
  });

  it.each([
    ['nothing', ''],
    ['nonsense', 'nonsense'],
    ['the first half', CURSOR.slice(0, 20)],
    ['one of the log', cursorAt({ namespace: 1, incarnation: other }, 5n)],
  ])('are not %s', (_, text) => {
    expect(() => decodeFrameCursor(text, execution)).toThrow(expect.objectContaining({ reason: 'BAD_CURSOR' }));
  });

  it('belong to their execution', () => {
    expect(() => decodeFrameCursor(CURSOR, other)).toThrow(/another execution/);
  });
});
