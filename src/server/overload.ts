/** How everything is refused that is shed: OVERLOADED, why, and when to come again. */
import { randomInt } from 'node:crypto';
import { EngineError } from '../domain/errors.js';

/**
 * | why         | what is at its limit                                             |
 * |-------------|------------------------------------------------------------------|
 * | requests    | calls at work, the event loop, or the queue for the database     |
 * | token_rate  | this caller's calls per second                                   |
 * | memory      | bytes of request bodies                                          |
 * | connections | connections of this address, or of all                           |
 */
export type Why = 'requests' | 'token_rate' | 'memory' | 'connections';

/** The delay is spread, or those who were refused together would come back together. */
export function overloaded(why: Why, message: string, retryDelayMs = 1_000): EngineError {
  const spread = retryDelayMs + randomInt(Math.ceil(retryDelayMs / 2) + 1);
  return new EngineError('OVERLOADED', message, { metadata: { why }, retryDelayMs: spread });
}
