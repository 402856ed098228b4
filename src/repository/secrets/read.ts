/** Secrets as they lie, sealed. Whether one is accepted is said by the database's clock, at the time of the read. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const ACCEPTED = '(s.accepted_until is null or s.accepted_until > clock_timestamp())';

const read = statement(
  'secrets.read',
  `select s.id, s.namespace, s.sealed, ${ACCEPTED} as accepted
   from {schema}.waitpoint_secret s where s.id = any ($1::int[])`,
);

const present = statement(
  'secrets.present',
  `select s.id, s.namespace, s.sealed, true as accepted
   from unnest($1::int[]) n (namespace)
   cross join lateral (
     select x.* from {schema}.waitpoint_secret x
     where x.namespace = n.namespace and x.accepted_until is null limit 1) s`,
);

const accepted = statement(
  'secrets.accepted',
  `select s.id from {schema}.waitpoint_secret s where s.id = any ($1::int[]) and ${ACCEPTED}`,
);

export interface SealedSecret {
  readonly id: number;
  readonly namespace: number;
  readonly sealed: Buffer;
  /** It is the present one, or within its grace. */
  readonly accepted: boolean;
}

/** In no order; what does not exist is missing. */
export async function readSecrets(runner: Runner, ids: readonly number[]): Promise<SealedSecret[]> {
  return await runner.query<SealedSecret>(read, [ids]);
}

/** The one that signs now, by namespace; missing where there is none yet. */
export async function readPresentSecrets(
  runner: Runner,
  namespaces: readonly number[],
): Promise<ReadonlyMap<number, SealedSecret>> {
  const rows = await runner.query<SealedSecret>(present, [namespaces]);
  return new Map(rows.map((row) => [row.namespace, row]));
}

/** Those of them whose tokens are accepted. */
export async function readAcceptedSecrets(runner: Runner, ids: readonly number[]): Promise<ReadonlyMap<number, true>> {
  const rows = await runner.query<{ id: number }>(accepted, [ids]);
  return new Map(rows.map(({ id }) => [id, true]));
}
