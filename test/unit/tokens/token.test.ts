import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { decodeToken, encodeToken, isGenuine } from '../../../src/services/tokens/token.js';

const secret = randomBytes(32);
const key = createSecretKey(secret);
const WAITPOINT = '0199c0de-1234-7abc-8def-0123456789ab';
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** What a server that knows this secret makes of it. */
function accepts(token: string): boolean {
  const parts = decodeToken(token);
  return parts !== undefined && isGenuine(key, parts);
}

describe('a waitpoint token', () => {
  it('is base64url of version, secret, waitpoint and their HMAC, and says the first three to anybody', () => {
    const token = encodeToken(key, 0x01020304, WAITPOINT);
    const bytes = Buffer.from(token, 'base64url');
    expect(bytes.subarray(0, 21).toString('hex')).toBe(`0101020304${WAITPOINT.replaceAll('-', '')}`);
    const hmac = createHmac('sha256', secret).update('tailrace waitpoint').update(bytes.subarray(0, 21)).digest();
    expect(bytes.subarray(21)).toEqual(hmac);
    expect(decodeToken(token)).toMatchObject({ secret: 0x01020304, waitpoint: WAITPOINT });
    expect(accepts(token)).toBe(true);
  });

  it('is the same each time it is made', () => {
    expect(encodeToken(key, 5, WAITPOINT)).toBe(encodeToken(createSecretKey(secret), 5, WAITPOINT));
  });

  it('has one spelling: no other text is taken for it', () => {
    const token = encodeToken(key, 5, WAITPOINT);
    // Of the 53 bytes the last two bits of the last letter hold nothing: four letters would stand for the same bytes.
    const last = ALPHABET.indexOf(token.slice(-1));
    for (let spare = 1; spare < 4; spare++) expect(accepts(token.slice(0, -1) + ALPHABET[last ^ spare])).toBe(false);
    for (const other of [
      `${token}=`,
      `${token}\n`,
      ` ${token}`,
      `${token.slice(0, 40)} ${token.slice(40)}`,
      `${token}A`,
    ]) {
      expect(accepts(other)).toBe(false);
    }
    expect(accepts(Buffer.from(token, 'base64url').toString('base64'))).toBe(false);
  });

  it('is refused with any letter changed, left out or added, at any place', () => {
    const token = encodeToken(key, 5, WAITPOINT);
    for (let i = 0; i < token.length; i++) {
      for (const letter of ALPHABET) {
        if (letter !== token[i]) expect(accepts(token.slice(0, i) + letter + token.slice(i + 1))).toBe(false);
      }
      expect(accepts(token.slice(0, i) + token.slice(i + 1))).toBe(false);
      expect(accepts(`${token.slice(0, i)}A${token.slice(i)}`)).toBe(false);
    }
  });

  it('is refused under another secret, and for another waitpoint', () => {
    const parts = decodeToken(encodeToken(key, 5, WAITPOINT));
    if (parts === undefined) throw new Error('not decoded');
    expect(isGenuine(createSecretKey(randomBytes(32)), parts)).toBe(false);
    const [mine, other] = [5, 6].map((id) => Buffer.from(encodeToken(key, id, WAITPOINT), 'base64url'));
    if (!mine || !other) throw new Error('no tokens');
    expect(accepts(Buffer.concat([other.subarray(0, 21), mine.subarray(21)]).toString('base64url'))).toBe(false);
  });

  it.each([0, 2 ** 31, 2 ** 32 - 1])('naming the secret %s, which no database makes, is not decoded', (id) => {
    expect(decodeToken(encodeToken(key, id, WAITPOINT))).toBeUndefined();
  });

  it.each(['', 'A', 'A'.repeat(71), 'é'.repeat(71), 'A'.repeat(1_000_000)])('is not a short or a long text', (text) => {
    expect(decodeToken(text)).toBeUndefined();
  });
});
