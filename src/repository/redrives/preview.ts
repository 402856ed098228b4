/** What a bulk redrive would select, and of what kinds. */
import type { Runner } from '../database.js';
import { type LetterFilter, selectingValues, selects } from '../dead-letters/filter.js';
import { statement } from '../statement.js';

const preview = statement(
  'redrives.preview',
  `with chosen as materialized (
     select d.id, d.type, d.reason from {schema}.dead_letter d
     where d.namespace = $1::int and d.state = 1 and not d.follower and ${selects('d')}
     order by d.id limit $17::int)
   select (select count(*)::int from chosen) as selected,
     array(select c.id from chosen c order by c.id limit $18::int) as first,
     (select coalesce(json_agg(x), '[]') from (
       select c.type as value, count(*)::int as n from chosen c group by c.type order by n desc, value limit 100) x) as types,
     (select coalesce(json_agg(x), '[]') from (
       select c.reason as value, count(*)::int as n from chosen c group by c.reason order by n desc, value) x) as reasons`,
);

export interface Preview {
  readonly selected: number;
  /** Ids of the first ones, in the order in which they would be taken. */
  readonly first: readonly string[];
  /** Most numerous first; the hundred largest. */
  readonly types: readonly { readonly value: string; readonly n: number }[];
  readonly reasons: readonly { readonly value: number; readonly n: number }[];
}

export async function previewRedrive(
  runner: Runner,
  namespace: number,
  filter: LetterFilter,
  most: number,
  shown: number,
): Promise<Preview> {
  const [row] = await runner.query<Preview>(preview, [namespace, ...selectingValues(filter), most, shown]);
  if (row === undefined) throw new Error('a preview answered nothing');
  return row;
}
