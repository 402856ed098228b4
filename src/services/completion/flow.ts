/** One flow as it stands now, in the words of the contract. */
import type { Flow } from '../../../gen/tailrace/v1/flow_pb.js';
import { cursorAt } from '../../domain/cursor.js';
import { EngineError } from '../../domain/errors.js';
import type { Runner } from '../../repository/database.js';
import { readFlow } from '../../repository/flows/index.js';
import { toFlow } from '../conversion/flow.js';

export interface WantedFlow {
  readonly namespace: { readonly id: number; readonly name: string };
  readonly flow: string;
  /** The log's, for its cursors. */
  readonly incarnation: string;
}

/** Throws FLOW_NOT_FOUND. */
export async function presentFlow(runner: Runner, { namespace, flow, incarnation }: WantedFlow): Promise<Flow> {
  const row = await readFlow(runner, namespace.id, flow);
  if (row === undefined) {
    throw new EngineError('FLOW_NOT_FOUND', `there is no flow ${flow}`, { metadata: { flow_id: flow } });
  }
  return toFlow(row, namespace.name, (position) => cursorAt({ namespace: namespace.id, incarnation }, position));
}
