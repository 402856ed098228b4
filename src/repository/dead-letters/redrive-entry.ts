/** Has exactly one parked entry delivered again, in one statement: its consumer's next fetch gets it. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import type { EventRedrive } from './redrive-event.js';

const redrive = statement(
  'dead-letters.redrive-entry',
  'select verdict, version, state from {schema}.redrive_entry($1, $2, $3, $4, $5, $6, $7)',
);

export interface EntryRedriveAnswer {
  /**
   * not_found: no parked entry. follower: an earlier one of its key is in the way. no_generation: the one that parked it was
   * replaced.
   */
  readonly verdict:
    | 'redriven'
    | 'duplicate'
    | 'reused'
    | 'not_found'
    | 'conflict'
    | 'wrong_state'
    | 'follower'
    | 'no_generation';
  readonly version: bigint | null;
  readonly state: number | null;
}

export async function redriveEntry(runner: Runner, asked: EventRedrive): Promise<EntryRedriveAnswer> {
  const { namespace, letter, requestId, hash, expectedVersion, actor, note } = asked;
  const values = [namespace, letter, requestId, hash, expectedVersion, actor, note];
  const [answer] = await runner.query<EntryRedriveAnswer>(redrive, values);
  if (answer === undefined) throw new Error('redrive_entry answered nothing');
  return answer;
}
