/**
 * The form of a waitpoint token: base64url, without padding, of
 *
 *     version 1 (1 byte) | id of the secret (4) | id of the waitpoint (16) | HMAC-SHA256 of what is before it (32)
 *
 * One token has one spelling: the two bits that its last letter has to spare are 0, and nothing is skipped over.
 */
import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';

const VERSION = 1;
const ID_AT = 1;
const WAITPOINT_AT = 5;
const MAC_AT = 21;
const BYTES = 53;
const FORM = /^[A-Za-z0-9_-]{71}$/;
const PURPOSE = 'tailrace waitpoint';
/** Ids are int4 in the database. */
const LAST_SECRET = 2 ** 31 - 1;

export interface TokenParts {
  readonly secret: number;
  readonly waitpoint: string;
  readonly signed: Buffer;
  readonly mac: Buffer;
}

/** `waitpoint`: a UUID. The same always gives the same. */
export function encodeToken(key: KeyObject, secret: number, waitpoint: string): string {
  const signed = Buffer.alloc(MAC_AT);
  signed[0] = VERSION;
  signed.writeUInt32BE(secret, ID_AT);
  signed.write(waitpoint.replaceAll('-', ''), WAITPOINT_AT, 'hex');
  return Buffer.concat([signed, macOf(key, signed)]).toString('base64url');
}

/** Undefined for what no server can have made. Looks at nothing but the public parts. */
export function decodeToken(token: string): TokenParts | undefined {
  if (!FORM.test(token)) return undefined;
  const bytes = Buffer.from(token, 'base64url');
  const secret = bytes.length === BYTES ? bytes.readUInt32BE(ID_AT) : 0;
  if (bytes[0] !== VERSION || secret < 1 || secret > LAST_SECRET) return undefined;
  if (bytes.toString('base64url') !== token) return undefined;
  return {
    secret,
    waitpoint: uuidOf(bytes.subarray(WAITPOINT_AT, MAC_AT)),
    signed: bytes.subarray(0, MAC_AT),
    mac: bytes.subarray(MAC_AT),
  };
}

/** In the same time whatever the difference. */
export function isGenuine(key: KeyObject, { signed, mac }: TokenParts): boolean {
  return timingSafeEqual(macOf(key, signed), mac);
}

function macOf(key: KeyObject, signed: Buffer): Buffer {
  return createHmac('sha256', key).update(PURPOSE).update(signed).digest();
}

function uuidOf(bytes: Buffer): string {
  const hex = bytes.toString('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}
