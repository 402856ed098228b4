/** Names of the slots that members fill, where an edge names none: their types, by execution id. Others are missing. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';

const read = statement(
  'flows.default-names',
  `select e.id, c.type from unnest($3::uuid[]) u (id)
   cross join lateral (
     select x.id, x.class from {schema}.execution x
     where x.id = u.id and x.namespace = $1::int and x.flow = $2::uuid offset 0) e
   cross join lateral (select x.type from {schema}.claim_class x where x.id = e.class offset 0) c`,
);

export async function readDefaultNames(
  runner: Runner,
  namespace: number,
  flow: string,
  executions: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await runner.query<{ id: string; type: string }>(read, [namespace, flow, executions]);
  return new Map(rows.map(({ id, type }) => [id, type]));
}
