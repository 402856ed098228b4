/** One flow as it stands: one statement, one snapshot. */
import type { Runner } from '../../database.js';
import { isShown } from '../../namespaces/shown.js';
import { statement } from '../../statement.js';
import { FLOW_COLUMNS, FLOW_JOINS, type FlowRow } from './flow-row.js';

const get = statement(
  'flows.get',
  `select ${FLOW_COLUMNS}
   from (select x.* from {schema}.flow x where x.id = $2::uuid and x.namespace = $1::int and ${isShown('x.ended_at', '$1::int')} offset 0) f ${FLOW_JOINS}`,
);

/** Undefined when this namespace has no such flow, or shows it no more. */
export async function readFlow(runner: Runner, namespace: number, id: string): Promise<FlowRow | undefined> {
  const [row] = await runner.query<FlowRow>(get, [namespace, id]);
  return row;
}
