/** Randomness. Nothing here is predictable, so ids cannot be guessed. */
import { randomBytes } from 'node:crypto';
import { wallMs } from './clock.js';

/** A UUIDv7: milliseconds since 1970, then 74 random bits. */
export function uuidV7(nowMs = wallMs()): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(nowMs, 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
