/** One execution as it stands, with everything that belongs to it. */
import type { Runner } from '../database.js';
import { isShown } from '../namespaces/shown.js';
import { statement } from '../statement.js';
import { EXECUTION_JOINS, type ExecutionRow, executionColumns } from './execution-row.js';

const get = statement(
  'inspection.get-execution',
  `with page as (select $2::uuid as k1)
   select ${executionColumns('$3::int', '$3::int > 0')}
   from page ${EXECUTION_JOINS}
   where e.namespace = $1::int and ${isShown('o.ended_at', '$1::int')}`,
);

const EVERYTHING = 2 ** 31 - 1;
const NOTHING = -1;

/** Undefined when this namespace has no such execution, or shows it no more. `contents`: whether input, result and failure details come along. */
export async function readExecution(
  runner: Runner,
  namespace: number,
  id: string,
  contents = true,
): Promise<ExecutionRow | undefined> {
  const [row] = await runner.query<ExecutionRow>(get, [namespace, id, contents ? EVERYTHING : NOTHING]);
  return row;
}
