/** Opens a closed dead letter again, by a person's word. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const reopen = statement(
  'dead-letters.reopen',
  'select verdict, state, version from {schema}.reopen_letter($1, $2, $3, $4, $5)',
);

export interface Reopening {
  readonly namespace: number;
  readonly letter: string;
  /** 0: any. */
  readonly expectedVersion: bigint;
  readonly actor: string;
  readonly note: string;
}

export interface ReopenAnswer {
  /** already: it is open. */
  readonly verdict: 'reopened' | 'already' | 'conflict' | 'wrong_state' | 'not_found';
  readonly state: number | null;
  readonly version: bigint | null;
}

export async function reopenDeadLetter(runner: Runner, asked: Reopening): Promise<ReopenAnswer> {
  const { namespace, letter, expectedVersion, actor, note } = asked;
  const [answer] = await runner.query<ReopenAnswer>(reopen, [namespace, letter, expectedVersion, actor, note]);
  if (answer === undefined) throw new Error('reopen_letter answered nothing');
  return answer;
}
