/** Makes a token: one transaction with its log entry and the new version that every process hears of. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const create = statement(
  'tokens.create',
  `select verdict, token from {schema}.create_token($1::uuid, $2::text, $3::text, $4::text, $5::smallint[], $6::bytea,
     $7::bigint, $8::text)`,
);

export interface NewToken {
  readonly id: string;
  /** Its name; `*` for all. */
  readonly namespace: string;
  readonly requestId: string | null;
  readonly name: string;
  readonly roles: readonly number[];
  /** SHA-256 of the secret. */
  readonly hash: Uint8Array;
  /** Null: for ever. */
  readonly expiryMs: number | null;
  readonly actor: string;
}

export interface CreatedToken {
  /** reused: `token` was made under that request id before. */
  readonly verdict: 'made' | 'reused' | 'no_namespace';
  readonly token: string | null;
}

export async function createToken(runner: Runner, asked: NewToken): Promise<CreatedToken> {
  const { id, namespace, requestId, name, roles, hash, expiryMs, actor } = asked;
  const values = [id, namespace, requestId, name, roles, hash, expiryMs, actor];
  const [answer] = await runner.query<CreatedToken>(create, values);
  if (answer === undefined) throw new Error('tokens.create answered nothing');
  return answer;
}
