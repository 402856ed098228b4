/** What the port lets through: connections, calls at once, calls per second, bytes held. */
import type { z } from 'zod';
import { whole } from './rules.js';

/** Of the calls at once, what one caller may have: less than new work may fill, so that others' gets in as well. */
const SHARE_OF_A_CALLER = 0.375;

export const trafficSettings = {
  TAILRACE_MAX_CONNECTIONS: whole(1, 1_000_000, 10_000).describe('Most connections at once.'),
  TAILRACE_MAX_CONNECTIONS_PER_ADDRESS: whole(0, 1_000_000, 2_000).describe(
    'Most connections of one remote address; 0: no limit of its own, for a server behind a proxy.',
  ),
  TAILRACE_MAX_CALLS: whole(4, 1_000_000, 4_000).describe(
    'Most calls at work at once, without those that wait. New work may fill half of it, what finishes work all.',
  ),
  TAILRACE_MAX_CALLS_PER_CONNECTION: whole(1, 1_000_000, 1_000).describe('Most calls of one connection at once.'),
  TAILRACE_MAX_WAITING_CALLS: whole(1, 1_000_000, 10_000).describe('Most streams and calls that wait, at once.'),
  TAILRACE_MAX_WAITING_CALLS_PER_CALLER: whole(1, 1_000_000, 5_000).describe(
    'Of these, most of one token or certificate; of those without one, of an address.',
  ),
  TAILRACE_MAX_CALLS_PER_SECOND: whole(0, 1_000_000, 0).describe(
    'Calls a second of one token, certificate or address; 0: any number.',
  ),
  TAILRACE_MAX_BUFFERED_BYTES: whole(1_048_576, 9_999_999_999, 268_435_456).describe(
    'Bytes of requests that are held at once; two of the largest size always are.',
  ),
  TAILRACE_MAX_LATENESS_MS: whole(50, 60_000, 500).describe(
    'New work is refused while the process is busier than to look at its clock in this time.',
  ),
};

type Given = { readonly [Name in keyof typeof trafficSettings]: z.output<(typeof trafficSettings)[Name]> };

export function trafficOf(given: Given) {
  return {
    port: {
      connections: given.TAILRACE_MAX_CONNECTIONS,
      connectionsPerAddress: given.TAILRACE_MAX_CONNECTIONS_PER_ADDRESS,
      bufferedBytes: given.TAILRACE_MAX_BUFFERED_BYTES,
    },
    calls: {
      calls: given.TAILRACE_MAX_CALLS,
      callsPerCaller: Math.ceil(given.TAILRACE_MAX_CALLS * SHARE_OF_A_CALLER),
      waiting: given.TAILRACE_MAX_WAITING_CALLS,
      waitingPerCaller: given.TAILRACE_MAX_WAITING_CALLS_PER_CALLER,
      perConnection: given.TAILRACE_MAX_CALLS_PER_CONNECTION,
      perSecond: given.TAILRACE_MAX_CALLS_PER_SECOND,
      lateMs: given.TAILRACE_MAX_LATENESS_MS,
    },
  };
}
