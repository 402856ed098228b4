/** An ordering key as one of those who wait for it sees it: who has its place, and what stands before him. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

/** Those ahead are counted up to this many. */
export const ORDER_AHEAD_COUNTED = 10_000;

const read = statement(
  'inspection.order-ahead',
  `select coalesce(
       (select x.execution from {schema}.ready x where x.gate = $1::uuid limit 1),
       (select x.execution from {schema}.lease x where x.gate = $1::uuid limit 1),
       (select x.execution from {schema}.scheduled x where x.gate = $1::uuid limit 1),
       (select x.execution from {schema}.suspension x where x.gate = $1::uuid limit 1),
       (select x.execution from {schema}.blocked x where x.gate = $1::uuid and (x.waits_for = 3 or x.state = 6) limit 1)) as holder,
     (select x.execution from {schema}.blocked x
       where x.gate = $1::uuid and x.waits_for = 4 and x.place < $2::bigint order by x.place limit 1) as first,
     d.id as letter, d.execution as dead, d.state = 2 as redriving,
     (select count(*)::int from (
       select from {schema}.blocked x where x.gate = $1::uuid and x.waits_for = 4 and x.place < $2::bigint
       limit ${ORDER_AHEAD_COUNTED} + 1) x) as ahead
   from (select) one
   left join lateral (
     select x.id, x.execution, x.state from {schema}.dead_letter x
     where x.gate = $1::uuid and x.state <> 3 and x.gate_place < $2::bigint order by x.gate_place limit 1) d on true`,
);

export interface OrderAhead {
  /** Who has the place. */
  readonly holder: string | null;
  /** Who waits first, before the one who asks. */
  readonly first: string | null;
  /** The first letter of the key that holds it up, what gave up with it, and whether that is run again. */
  readonly letter: string | null;
  readonly dead: string | null;
  readonly redriving: boolean | null;
  /** Of those that wait; more than ORDER_AHEAD_COUNTED when there are more. */
  readonly ahead: number;
}

/** `place`: where the one who asks stands. */
export async function readOrderAhead(runner: Runner, gate: string, place: bigint): Promise<OrderAhead> {
  const [row] = await runner.query<OrderAhead>(read, [gate, place]);
  if (row === undefined) throw new Error('a statement that answers one row answered none');
  return row;
}
