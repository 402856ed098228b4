/**
 * What has ended behind its namespace's floor is not there any more for a caller: whoever would be told that it has ended is
 * told what somebody is told who names something that never was. Asked only where a call has found an end, so that calls
 * about what is live read nothing more.
 */
import type { Runner } from '../repository/database.js';
import { hiddenExecutions, isFlowHidden } from '../repository/namespaces/index.js';
import { flowNotFound } from './engine/flows/refusals.js';
import { executionNotFound } from './engine/refusals.js';

/** Throws EXECUTION_NOT_FOUND for the first that is not shown. */
export async function refuseHidden(database: Runner, namespace: number, ended: readonly string[]): Promise<void> {
  if (ended.length === 0) return;
  const hidden = await hiddenExecutions(database, namespace, ended);
  const first = ended.find((id) => hidden.has(id));
  if (first !== undefined) throw executionNotFound(first);
}

/** Throws FLOW_NOT_FOUND. */
export async function refuseHiddenFlow(database: Runner, namespace: number, flow: string): Promise<void> {
  if (await isFlowHidden(database, namespace, flow)) throw flowNotFound(flow);
}
