/** What a namespace does not show any more, among what a caller names. */
import type { Runner } from '../database.js';
import { statement } from '../statement.js';
import { isExecutionShown, isFlowShown } from './shown.js';

const executions = statement(
  'namespaces.hidden-executions',
  `select u.id from unnest($2::uuid[]) u (id) where not (${isExecutionShown('u.id', '$1::int')})`,
);

const flow = statement('namespaces.shows-flow', `select ${isFlowShown('$2::uuid', '$1::int')} as shown`);

/** Those that are not shown. What is not there is none of them. */
export async function hiddenExecutions(
  runner: Runner,
  namespace: number,
  ids: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await runner.query<{ id: string }>(executions, [namespace, ids]);
  return new Set(rows.map(({ id }) => id));
}

export async function isFlowHidden(runner: Runner, namespace: number, id: string): Promise<boolean> {
  const [row] = await runner.query<{ shown: boolean }>(flow, [namespace, id]);
  return row?.shown === false;
}
