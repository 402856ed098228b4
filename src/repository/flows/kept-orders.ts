/** Ordering keys whose place is kept by those who would wait for a child: it would never come to it. */
import { int4Array, textArray } from '../binary-arrays.js';
import type { Runner } from '../database.js';
import type { NewExecution } from '../executions/index.js';
import { statement } from '../statement.js';

/** The parent, and whoever waits for it, for the one who waits for it, and so on. */
const read = statement(
  'flows.kept-orders',
  `with recursive above as (
     select e.id, e.parent, e.class, e.ordering_key, 0 as n from {schema}.execution e where e.id = $1::uuid
     union all
     select e.id, e.parent, e.class, e.ordering_key, a.n + 1 from above a
     cross join lateral (
       select x.id, x.parent, x.class, x.ordering_key from {schema}.execution x where x.id = a.parent offset 0) e
     cross join lateral (
       select from {schema}.blocked b where b.execution = e.id and b.state = 6 limit 1) waits
     where a.n < 1000)
   select u.n::int - 1 as child, a.id as keeper
   from unnest($2::int[], $3::text[]) with ordinality u (class, key, n)
   cross join lateral (select x.lane from {schema}.claim_class x where x.id = u.class offset 0) c
   join above a on a.ordering_key = u.key
   cross join lateral (select x.lane from {schema}.claim_class x where x.id = a.class offset 0) k
   where k.lane = c.lane order by u.n, a.n`,
);

export interface KeptOrder {
  /** Place of the child, from 0. */
  readonly child: number;
  /** Who has the place of its key. */
  readonly keeper: string;
}

export async function readKeptOrders(
  runner: Runner,
  parent: string,
  children: readonly NewExecution[],
): Promise<KeptOrder[]> {
  if (children.every(({ orderingKey }) => !orderingKey)) return [];
  return await runner.query<KeptOrder>(read, [
    parent,
    int4Array(children.map((child) => child.class)),
    textArray(children.map(({ orderingKey }) => orderingKey ?? null)),
  ]);
}
