/** A concurrency key as one of those who wait for it sees it: who holds its slots, and who is ahead. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** Those ahead are counted up to this many. */
export const KEY_AHEAD_COUNTED = 10_000;

/** Waiting ones stand by priority, then by place; each stretch is read from the index up to the own place. */
const read = statement(
  'quotas.key-use',
  `select k.room + q.n + l.n as most, q.n as queued, l.n as running, a.n as ahead
   from {schema}.key_room(array[$1::uuid]) k
   cross join lateral (select count(*)::int as n from {schema}.ready x where x.gate = $1::uuid) q
   cross join lateral (select count(*)::int as n from {schema}.lease x where x.gate = $1::uuid) l
   cross join lateral (
     select count(*)::int as n from (
       (select from {schema}.blocked x where x.gate = $1::uuid and x.waits_for = 2 and x.priority > $2::smallint
        limit ${KEY_AHEAD_COUNTED} + 1)
       union all
       (select from {schema}.blocked x
        where x.gate = $1::uuid and x.waits_for = 2 and x.priority = $2::smallint and x.place < $3::bigint
        limit ${KEY_AHEAD_COUNTED} + 1)) y) a`,
);

export interface KeyUse {
  /** How many of it may stand in line or run. */
  readonly most: number;
  /** How many stand in line, and how many run. */
  readonly queued: number;
  readonly running: number;
  /** More than KEY_AHEAD_COUNTED when there are more. */
  readonly ahead: number;
}

/** Undefined when there is no such key. `place`, with the priority, is where the one who asks stands among those who wait. */
export async function readKeyUse(
  runner: Runner,
  gate: string,
  priority: number,
  place: bigint,
): Promise<KeyUse | undefined> {
  const [row] = await runner.query<KeyUse>(read, [gate, priority, place]);
  return row;
}
