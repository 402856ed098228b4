/** Ends a token for good. Safe to repeat: who revoked it first, and why, stands. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const revoke = statement(
  'tokens.revoke',
  'select verdict from {schema}.revoke_token($1::uuid, $2::text, $3::text, $4::text)',
);

export interface TokenRevocation {
  readonly id: string;
  /** The one it must be bound to; `*`: whichever. */
  readonly namespace: string;
  readonly actor: string;
  readonly reason: string;
}

export type RevokedToken = 'revoked' | 'same' | 'not_found';

export async function revokeToken(runner: Runner, asked: TokenRevocation): Promise<RevokedToken> {
  const { id, namespace, actor, reason } = asked;
  const [answer] = await runner.query<{ verdict: RevokedToken }>(revoke, [id, namespace, actor, reason]);
  if (answer === undefined) throw new Error('tokens.revoke answered nothing');
  return answer.verdict;
}
