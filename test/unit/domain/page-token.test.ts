/** Page tokens come back as they were, and only to the list they came from. */
import { describe, expect, it } from 'vitest';
import { EngineError } from '../../../src/domain/errors.js';
import { decodePageToken, encodePageToken } from '../../../src/domain/page-token.js';

const BOUND = 'ListLanes {"namespace":"default"}';

function refusalOf(token: string, bound = BOUND): string {
  try {
    decodePageToken(token, bound);
  } catch (error) {
    if (error instanceof EngineError && error.reason === 'BAD_CURSOR') return error.message;
    throw error;
  }
  return 'accepted';
}

describe('a page token', () => {
  it.each([[[]], [['a']], [['ä"\\', '', '9']]])('carries its keys: %j', (keys) => {
    expect(decodePageToken(encodePageToken(BOUND, keys), BOUND)).toEqual(keys);
  });

  it('belongs to one list', () => {
    const token = encodePageToken(BOUND, ['a']);
    expect(refusalOf(token, `${BOUND} `)).toContain('another list');
    expect(refusalOf(token, '')).toContain('another list');
  });

  it('is refused when a single character of it changes, or something is missing or added', () => {
    const token = encodePageToken(BOUND, ['0198a0a0-0000-7000-8000-000000000001']);
    for (let i = 0; i < token.length; i++) {
      const other = token[i] === 'A' ? 'B' : 'A';
      expect(refusalOf(token.slice(0, i) + other + token.slice(i + 1))).not.toBe('accepted');
      expect(refusalOf(token.slice(0, i))).not.toBe('accepted');
    }
    for (const added of [`${token}A`, `${token}=`, ` ${token}`, '']) expect(refusalOf(added)).toContain('damaged');
  });
});
