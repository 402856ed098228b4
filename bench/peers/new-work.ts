/**
 * New work, which a server refuses while it does not keep up: it is brought again, as the client library does. That shows in
 * latencies and rates, where it belongs, and ends no run of hours.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { asTailraceError } from '../../src/client/errors.js';

const AGAIN_MS = 100;

export async function bring<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (asTailraceError(error).reason !== 'OVERLOADED') throw error;
    }
    await pause(AGAIN_MS);
  }
}
