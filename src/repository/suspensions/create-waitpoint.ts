/** A place where signals can land, made by the holder of a lease before it suspends. */
import type { Runner } from '../database.js';
import type { LeaseRef, Refused } from '../leases/index.js';
import { statement } from '../statement.js';
import type { HeldWaitpoint, NewWaitpoint } from './waitpoint.js';

const create = statement(
  'suspensions.create-waitpoint',
  `select verdict, state, attempt, token, waitpoints
   from {schema}.create_waitpoint($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
);

export interface WaitpointWanted extends LeaseRef {
  readonly waitpoint: NewWaitpoint;
  /** Signs its token, unless it is there already. */
  readonly secret: number;
  /** Most of one execution. */
  readonly most: number;
}

/** there: it was made before. */
export type WaitpointAnswer =
  | { readonly verdict: 'made' | 'there'; readonly waitpoint: HeldWaitpoint }
  | { readonly verdict: 'closed' }
  | { readonly verdict: 'full' }
  | Refused;

interface Row {
  readonly verdict: WaitpointAnswer['verdict'];
  readonly state: number | null;
  readonly attempt: number | null;
  readonly token: bigint | null;
  readonly waitpoints: readonly HeldWaitpoint[] | null;
}

export async function createWaitpoint(runner: Runner, wanted: WaitpointWanted): Promise<WaitpointAnswer> {
  const { namespace, execution, lease, token, waitpoint, secret, most } = wanted;
  const values = [namespace, execution, lease, token, waitpoint.id, waitpoint.key, waitpoint.expiryMs, secret, most];
  const [row] = await runner.query<Row>(create, values);
  if (row === undefined) throw new Error('create_waitpoint answered nothing');
  if (row.verdict === 'closed' || row.verdict === 'full') return { verdict: row.verdict };
  if (row.verdict !== 'made' && row.verdict !== 'there') return { ...row, verdict: row.verdict };
  const [there] = row.waitpoints ?? [];
  if (there === undefined) throw new Error('create_waitpoint answered no waitpoint');
  return { verdict: row.verdict, waitpoint: there };
}
