/** The first token of an installation: admin of everything. However many processes try, one of them makes it. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const bootstrap = statement(
  'tokens.bootstrap',
  'select verdict from {schema}.bootstrap_token($1::uuid, $2::bytea, $3::boolean, $4::text)',
);

const hasAdmin = statement('tokens.has-admin', 'select {schema}.has_admin_token() as has');

export interface FirstToken {
  readonly id: string;
  /** SHA-256 of the secret. */
  readonly hash: Uint8Array;
  /** Also where there is one already. */
  readonly always: boolean;
  readonly actor: string;
}

/**
 * same: it is the one offered · there: another one is live, and nothing was made · spent: the one offered has ended, or
 * its id belongs to another secret.
 */
export type Bootstrapped = 'made' | 'same' | 'there' | 'spent';

export async function bootstrapToken(runner: Runner, { id, hash, always, actor }: FirstToken): Promise<Bootstrapped> {
  const [answer] = await runner.query<{ verdict: Bootstrapped }>(bootstrap, [id, hash, always, actor]);
  if (answer === undefined) throw new Error('tokens.bootstrap answered nothing');
  return answer.verdict;
}

/** Whether a token is live that may do everything everywhere. */
export async function hasAdminToken(runner: Runner): Promise<boolean> {
  const [answer] = await runner.query<{ has: boolean }>(hasAdmin);
  return answer?.has === true;
}
