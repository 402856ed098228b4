/**
 * Secrets of tokens: `tr_` id `_` 32 random bytes, both in base64url.
 *
 * The prefix lets scanners of repositories find one that leaked; the id lets a server find its row without comparing
 * what is secret. What is kept is the SHA-256 of the whole: 256 random bits need no slow hash.
 */
import { hash, randomBytes } from 'node:crypto';
import { uuidV7 } from '../../runtime/random.js';

const FORM = /^tr_([A-Za-z0-9_-]{22})_[A-Za-z0-9_-]{43}$/;
const RANDOM_BYTES = 32;

export interface Secret {
  /** Of its token. */
  readonly id: string;
  readonly text: string;
}

export function makeSecret(): Secret {
  const id = uuidV7();
  const begins = Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url');
  return { id, text: `tr_${begins}_${randomBytes(RANDOM_BYTES).toString('base64url')}` };
}

/** The token's id; undefined for what is no secret. */
export function tokenIdIn(secret: string): string | undefined {
  const begins = FORM.exec(secret)?.[1];
  if (begins === undefined) return undefined;
  const hex = Buffer.from(begins, 'base64url').toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

export function hashOf(secret: string): Buffer {
  return Buffer.from(hashTextOf(secret), 'base64url');
}

/** The same as text. In one step: this is done for every call. */
export function hashTextOf(secret: string): string {
  return hash('sha256', secret, 'base64url');
}
