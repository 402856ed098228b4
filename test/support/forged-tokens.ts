/** Texts that are no tokens although they look like some, without end: each from genuine ones, by one of many ways. */
import { createHmac } from 'node:crypto';
import type { Chance } from './chance.js';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
/** Version and id of the secret; what is signed; all of it. */
const [HEAD, SIGNED, LENGTH] = [5, 21, 53];

export class Forger {
  readonly #chance: Chance;
  readonly #genuine: readonly string[];

  /** `genuine`: two at least, of different waitpoints. */
  constructor(chance: Chance, genuine: readonly string[]) {
    this.#chance = chance;
    this.#genuine = genuine;
  }

  /** Never a genuine one. */
  next(): string {
    const made = this.#chance.weighted(WAYS)?.(this) ?? '';
    return this.#genuine.includes(made) ? this.next() : made;
  }

  token(): string {
    return this.#chance.pick(this.#genuine) ?? '';
  }

  bytes(): Buffer {
    return Buffer.from(this.token(), 'base64url');
  }

  below(end: number): number {
    return this.#chance.below(end);
  }

  random(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  letters(length: number): string {
    return Array.from({ length }, () => ALPHABET[this.below(ALPHABET.length)]).join('');
  }
}

type Way = (forger: Forger) => string;

const WAYS: readonly (readonly [weight: number, way: Way])[] = [
  [20, flippedBits],
  [10, changedLetters],
  [8, cutShort],
  [4, (forger) => forger.token() + forger.letters(1 + forger.below(9))],
  [8, otherHalf],
  [8, otherSecret],
  [8, otherWaitpoint],
  [8, signedByAnother],
  [4, (forger) => forger.random(LENGTH).toString('base64url')],
  [4, (forger) => forger.letters(71)],
  [4, (forger) => forger.letters(forger.below(200))],
  [4, otherSpelling],
  [2, (forger) => forger.random(forger.below(99)).toString('latin1').replaceAll('\0', '')],
];

function flippedBits(forger: Forger): string {
  const bytes = forger.bytes();
  for (let n = 1 + forger.below(3); n > 0; n--) {
    const bit = forger.below(LENGTH * 8);
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  }
  return bytes.toString('base64url');
}

function changedLetters(forger: Forger): string {
  const token = forger.token();
  const at = forger.below(token.length);
  return token.slice(0, at) + forger.letters(1) + token.slice(at + 1);
}

function cutShort(forger: Forger): string {
  const token = forger.token();
  const from = forger.below(token.length);
  return forger.below(2) === 0 ? token.slice(0, from) : token.slice(from + 1);
}

/** What one says, signed as another is. */
function otherHalf(forger: Forger): string {
  return Buffer.concat([forger.bytes().subarray(0, SIGNED), forger.bytes().subarray(SIGNED)]).toString('base64url');
}

/** Ids near those that exist, and far from them. */
function otherSecret(forger: Forger): string {
  const bytes = forger.bytes();
  bytes.writeUInt32BE(forger.below(2) === 0 ? forger.below(50) : forger.below(2 ** 32), 1);
  return bytes.toString('base64url');
}

function otherWaitpoint(forger: Forger): string {
  const bytes = forger.bytes();
  return Buffer.concat([bytes.subarray(0, HEAD), forger.random(16), bytes.subarray(SIGNED)]).toString('base64url');
}

/** The right form and names, and an HMAC by somebody who knows everything but the secret. */
function signedByAnother(forger: Forger): string {
  const signed = forger.bytes().subarray(0, SIGNED);
  const guess = [Buffer.alloc(32), Buffer.alloc(0), signed, forger.random(32)][forger.below(4)] ?? signed;
  const hmac = createHmac('sha256', guess).update('tailrace waitpoint').update(signed).digest();
  return Buffer.concat([signed, hmac]).toString('base64url');
}

/** The same bytes, written in a way in which no server writes them. */
function otherSpelling(forger: Forger): string {
  const token = forger.token();
  const last = ALPHABET.indexOf(token.slice(-1));
  const spellings = [
    `${token}=`,
    ` ${token}`,
    `${token}\n`,
    `${token.slice(0, 30)} ${token.slice(30)}`,
    token.slice(0, -1) + ALPHABET[last ^ (1 + forger.below(3))],
    `${forger.bytes().toString('base64')}`,
    forger.bytes().toString('hex'),
    token.toLowerCase(),
    token.toUpperCase(),
    `\u200b${token}`,
  ];
  return spellings[forger.below(spellings.length)] ?? '';
}
