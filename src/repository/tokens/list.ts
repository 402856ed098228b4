/** Tokens by name, a page at a time, and one by its id. Hashes stay where they are. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { TOKEN_COLUMNS, type TokenRow } from './token-row.js';

/** By the index of names, past the tokens of others: there are hundreds of them, not millions. */
const list = statement(
  'tokens.list',
  `select ${TOKEN_COLUMNS} from {schema}.token t left join {schema}.namespace n on n.id = t.namespace
   where (t.name, t.id) > ($1::text, $2::uuid) and ($3::text = '*' or n.name = $3::text)
     and ($4::boolean or (t.revoked_at is null and (t.expires_at is null or t.expires_at > clock_timestamp())))
   order by t.name, t.id limit $5::int`,
);

const one = statement(
  'tokens.one',
  `select ${TOKEN_COLUMNS} from {schema}.token t left join {schema}.namespace n on n.id = t.namespace
   where t.id = $1::uuid`,
);

export interface TokenPage {
  /** Those bound to it; `*`: all. */
  readonly namespace: string;
  /** Also those that have ended. */
  readonly ended: boolean;
  /** After this name and id. */
  readonly after: readonly [name: string, id: string];
  readonly size: number;
}

export async function listTokens(runner: Runner, page: TokenPage): Promise<{ tokens: TokenRow[]; more: boolean }> {
  const { namespace, ended, after, size } = page;
  const rows = await runner.query<TokenRow>(list, [...after, namespace, ended, size + 1]);
  return { tokens: rows.slice(0, size), more: rows.length > size };
}

export async function readToken(runner: Runner, id: string): Promise<TokenRow | undefined> {
  const [row] = await runner.query<TokenRow>(one, [id]);
  return row;
}
