/**
 * New secrets. A namespace has at most one present secret, an index sees to that; who makes one holds the row of the
 * namespace until the commit, so that two rotations follow each other: the second retires what the first made.
 */
import type { Database, Runner } from '../database.js';
import { statement } from '../statement.js';

const insertFirst = statement(
  'secrets.insert-first',
  `with held as materialized (select n.id from {schema}.namespace n where n.id = $1::int for no key update)
   insert into {schema}.waitpoint_secret (namespace, sealed) select held.id, $2::bytea from held
   on conflict (namespace) where accepted_until is null do nothing`,
);

const hold = statement(
  'secrets.hold-namespace',
  'select n.id from {schema}.namespace n where n.id = $1::int for no key update',
);

/** The present one is accepted for the grace, by the clock after the lock; the one before it no longer. */
const retire = statement(
  'secrets.retire',
  `update {schema}.waitpoint_secret s
   set accepted_until = case when s.accepted_until is null
     then clock_timestamp() + $2::bigint * interval '1 millisecond' else clock_timestamp() end
   from (select x.id, x.accepted_until is null as present from {schema}.waitpoint_secret x
     where x.namespace = $1::int and (x.accepted_until is null or x.accepted_until > clock_timestamp())) before
   where s.id = before.id
   returning s.id, s.accepted_until, before.present`,
);

const insert = statement(
  'secrets.insert',
  'insert into {schema}.waitpoint_secret (namespace, sealed) values ($1::int, $2::bytea) returning id',
);

/** Details of the entry: key_id, previous_key_id and previous_expire_time, null where there was none before. */
const log = statement(
  'secrets.log-rotation',
  `select {schema}.append_log(array[n.id], array[134::smallint], array[null::uuid], array[null::uuid], array[null::int],
     array[null::smallint], array[null::smallint], array[null::int], array[jsonb_build_object('subject', n.name,
       'key_id', $2::int::text, 'previous_key_id', $3::int::text, 'previous_expire_time', $4::timestamptz,
       'actor', $5::text, 'reason', $6::text)::text])
   from {schema}.namespace n where n.id = $1::int`,
);

export interface SecretRotation {
  readonly namespace: number;
  /** The new secret. */
  readonly sealed: Buffer;
  /** How long tokens of the present one are accepted; 0: no longer. */
  readonly graceMs: number;
  readonly actor: string;
  readonly reason: string;
}

export interface RotatedSecret {
  readonly id: number;
  /** Undefined when it is the first. */
  readonly previous: { readonly id: number; readonly acceptedUntil: Date } | undefined;
}

/** Changes nothing where there is one already: two that make the first at once agree on one of them. */
export async function insertFirstSecret(runner: Runner, namespace: number, sealed: Buffer): Promise<void> {
  await runner.query(insertFirst, [namespace, sealed]);
}

/** All or nothing; a repeat after a lost answer rotates again. */
export async function rotateSecret(database: Database, asked: SecretRotation): Promise<RotatedSecret> {
  const { namespace, sealed, graceMs, actor, reason } = asked;
  return await database.transaction(async (runner) => {
    await runner.query(hold, [namespace]);
    type Retired = { id: number; accepted_until: Date; present: boolean };
    const retired = await runner.query<Retired>(retire, [namespace, graceMs]);
    const previous = retired.find(({ present }) => present);
    const [made] = await runner.query<{ id: number }>(insert, [namespace, sealed]);
    if (made === undefined) throw new Error('an insert returned nothing');
    await runner.query(log, [
      namespace,
      made.id,
      previous?.id ?? null,
      previous?.accepted_until ?? null,
      actor,
      reason,
    ]);
    return {
      id: made.id,
      previous: previous && { id: previous.id, acceptedUntil: previous.accepted_until },
    };
  });
}
