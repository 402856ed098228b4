/**
 * Whom secrets belong to, and when they were last used.
 *
 * The lookup goes by the id that a secret begins with and answers the hash, so that the comparison takes the same time
 * whatever was sent. What has ended is not answered.
 */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const lookup = statement(
  'tokens.lookup',
  `select t.id, t.name, n.name as namespace, t.roles, t.hash,
     (extract(epoch from t.expires_at - clock_timestamp()) * 1000)::double precision as left_ms
   from {schema}.token t left join {schema}.namespace n on n.id = t.namespace
   where t.id = any ($1::uuid[]) and t.revoked_at is null
     and (t.expires_at is null or t.expires_at > clock_timestamp())`,
);

/** Never waits: whoever holds such a row writes the same. */
const use = statement(
  'tokens.use',
  `update {schema}.token t set used_at = clock_timestamp()
   from (select u.id from {schema}.token u where u.id = any ($1::uuid[])
       and (u.used_at is null or u.used_at < clock_timestamp() - interval '30 seconds')
     order by u.id for no key update skip locked) due
   where t.id = due.id`,
);

export interface LiveToken {
  readonly id: string;
  readonly name: string;
  /** Null: good for all. */
  readonly namespace: string | null;
  readonly roles: number[];
  readonly hash: Buffer;
  /** Milliseconds until it ends; null: it does not. */
  readonly left_ms: number | null;
}

export function lookUpTokens(runner: Runner, ids: readonly string[]): Promise<LiveToken[]> {
  return runner.query<LiveToken>(lookup, [ids]);
}

export async function markTokensUsed(runner: Runner, ids: readonly string[]): Promise<void> {
  await runner.query(use, [ids]);
}
