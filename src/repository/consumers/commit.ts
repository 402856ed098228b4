/** Moves a part by compare-and-set, and closes letters whose entries were delivered again, in one statement. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { type Holding, holdingValues } from './part-ref.js';

const commit = statement(
  'consumers.commit',
  `select verdict, "position", expires_at as "expiresAt", closed
   from {schema}.commit_part($1, $2, $3, $4, $5, $6, $7, $8, $9::uuid[])`,
);

export interface CommitAsk extends Holding {
  readonly from: bigint;
  readonly to: bigint;
  /** Distinct. */
  readonly letters: readonly string[];
}

export interface CommitAnswer {
  /** moved: the part does not stand at `from`. beyond: `to` is no place to move to. no_letter: one is not of this part. */
  readonly verdict: 'committed' | 'duplicate' | 'not_found' | 'epoch' | 'moved' | 'beyond' | 'no_letter';
  /** Where the part stands; null where that was not looked at. */
  readonly position: bigint | null;
  readonly expiresAt: Date | null;
  /** Letters that this call closed. */
  readonly closed: number;
}

export async function commitPart(runner: Runner, asked: CommitAsk): Promise<CommitAnswer> {
  const values = [...holdingValues(asked), asked.from, asked.to, asked.letters];
  const [answer] = await runner.query<CommitAnswer>(commit, values);
  if (answer === undefined) throw new Error('commit_part answered nothing');
  return answer;
}
