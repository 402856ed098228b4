/**
 * Page tokens: opaque marks of where a list goes on, bound to the list they came from.
 *
 *     version (1 byte) · binding (8) · keys as JSON · checksum (4)
 *
 * in base64url. The binding is a hash over the call, the namespace and the filter: with another filter the key would
 * point somewhere, but the pages would no longer be one list. It finds mistakes, not forgery: every page is read within
 * the namespace of its own request, so a forged token shows nothing its holder could not ask for.
 */
import { EngineError } from './errors.js';

const VERSION = 1;
const BINDING = 8;
const CHECKSUM = 4;

/** `bound`: everything that must be the same in the next request, as text. */
export function encodePageToken(bound: string, keys: readonly string[]): string {
  const body = Buffer.from(JSON.stringify(keys));
  const bytes = Buffer.alloc(1 + BINDING + body.length + CHECKSUM);
  bytes.writeUInt8(VERSION, 0);
  bytes.writeUInt32BE(hash(Buffer.from(bound), 0), 1);
  bytes.writeUInt32BE(hash(Buffer.from(bound), 1), 5);
  body.copy(bytes, 1 + BINDING);
  const end = bytes.length - CHECKSUM;
  bytes.writeUInt32BE(hash(bytes.subarray(0, end), 0), end);
  return bytes.toString('base64url');
}

/** The keys. BAD_CURSOR for what encodePageToken did not make, and for a token of another list. */
export function decodePageToken(token: string, bound: string): string[] {
  const bytes = Buffer.from(token, 'base64url');
  const end = bytes.length - CHECKSUM;
  // Decoding skips what is no base64url; encoding it again shows that.
  if (bytes.toString('base64url') !== token || end < 1 + BINDING) throw bad('it is damaged');
  if (bytes.readUInt32BE(end) !== hash(bytes.subarray(0, end), 0)) throw bad('it is damaged');
  if (bytes.readUInt8(0) !== VERSION) throw bad('its version is unknown');
  const text = Buffer.from(bound);
  if (bytes.readUInt32BE(1) !== hash(text, 0) || bytes.readUInt32BE(5) !== hash(text, 1)) {
    throw bad('it belongs to another list, namespace or filter');
  }
  return keysIn(bytes.subarray(1 + BINDING, end).toString());
}

function keysIn(text: string): string[] {
  try {
    const keys: unknown = JSON.parse(text);
    if (Array.isArray(keys) && keys.every((key) => typeof key === 'string')) return keys;
  } catch {
    // Falls through: what the checksum lets pass and is no JSON was made by hand.
  }
  throw bad('it is damaged');
}

function bad(why: string): EngineError {
  return new EngineError('BAD_CURSOR', `the page token cannot be used: ${why}`);
}

/** FNV-1a over 32 bits, from one of two starting values. */
function hash(bytes: Uint8Array, seed: number): number {
  let value = (0x811c9dc5 ^ (seed * 0x9e3779b9)) >>> 0;
  for (const byte of bytes) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}
