/** Randomness. Nothing here is predictable, so ids cannot be guessed. */
import { randomUUID } from 'node:crypto';
import { wallMs } from './clock.js';

/** A UUIDv7: milliseconds since 1970, then 74 random bits. Made from a v4, whose randomness Node draws in advance. */
export function uuidV7(nowMs = wallMs()): string {
  const time = nowMs.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}
