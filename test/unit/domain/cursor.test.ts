/** Cursors come back as they went out; anything else is refused, never misread. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cursorAt, decodeCursor, encodeCursor, resolveCursor } from '../../../src/domain/cursor.js';

const scope = {
  namespace: 7,
  incarnation: '0190a5b4-9c1e-4d2a-8f00-1234567890ab',
  floor: 10n,
  head: 100n,
};

const cursor = fc.record({
  namespace: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  incarnation: fc.uuid(),
  positions: fc.array(
    fc.record({ shard: fc.integer({ min: 0, max: 65_535 }), position: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }) }),
    { maxLength: 8 },
  ),
});

test('what is encoded decodes to the same', () => {
  fc.assert(
    fc.property(cursor, (made) => {
      expect(decodeCursor(encodeCursor(made))).toEqual(made);
    }),
  );
});

test('the cursor of a place is what it would be encoded to', () => {
  const position = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });
  fc.assert(
    fc.property(cursor, position, (made, at) => {
      expect(cursorAt(made, at)).toBe(encodeCursor({ ...made, positions: [{ shard: 0, position: at }] }));
    }),
  );
});

test('one changed character is noticed', () => {
  fc.assert(
    fc.property(cursor, fc.nat(), fc.constantFrom(...'AZaz09-_'), (made, at, character) => {
      const text = encodeCursor(made);
      const i = at % text.length;
      const damaged = text.slice(0, i) + character + text.slice(i + 1);
      fc.pre(damaged !== text);
      expect(() => decodeCursor(damaged)).toThrow(expect.objectContaining({ reason: 'BAD_CURSOR' }));
    }),
  );
});

test('arbitrary text is refused', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 100 }), (text) => {
      expect(() => decodeCursor(text)).toThrow(expect.objectContaining({ reason: 'BAD_CURSOR' }));
    }),
  );
});

describe('a cursor is measured against its log', () => {
  test.each([10n, 11n, 100n])('%d lies inside', (position) => {
    expect(resolveCursor(cursorAt(scope, position), scope)).toBe(position);
  });

  test.each([
    ['of another namespace', cursorAt({ ...scope, namespace: 8 }, 50n)],
    ['of another log', cursorAt({ ...scope, incarnation: '0190a5b4-9c1e-4d2a-8f00-1234567890ac' }, 50n)],
    ['beyond the head', cursorAt(scope, 101n)],
    ['of two shards', encodeCursor({ ...scope, positions: [0, 1].map((shard) => ({ shard, position: 50n })) })],
    ['of no shard', encodeCursor({ ...scope, positions: [] })],
    ['of an unknown version', `Ag${cursorAt(scope, 50n).slice(2)}`],
  ])('one %s is refused', (_, text) => {
    expect(() => resolveCursor(text, scope)).toThrow(expect.objectContaining({ reason: 'BAD_CURSOR' }));
  });

  test('one of the log that it was restored from is good up to where that went on alone', () => {
    const before = '0190a5b4-9c1e-4d2a-8f00-1234567890ac';
    const restored = { ...scope, past: { [before]: 50n } };
    const at = (position: bigint) => cursorAt({ ...scope, incarnation: before }, position);
    expect(resolveCursor(at(50n), restored)).toBe(50n);
    expect(() => resolveCursor(at(51n), restored)).toThrow(expect.objectContaining({ reason: 'BAD_CURSOR' }));
    expect(() => resolveCursor(at(9n), restored)).toThrow(expect.objectContaining({ reason: 'CURSOR_PRUNED' }));
  });

  test('one below the floor says where the log begins now', () => {
    const earliest = cursorAt(scope, 10n);
    expect(() => resolveCursor(cursorAt(scope, 9n), scope)).toThrow(
      expect.objectContaining({ reason: 'CURSOR_PRUNED', metadata: { earliest_cursor: earliest } }),
    );
    expect(resolveCursor(earliest, scope)).toBe(10n);
  });
});
