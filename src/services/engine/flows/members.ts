/** The executions that a call makes as members of a flow. */
import type { Registry } from '../../../dispatch/registry.js';
import type { NewMember } from '../../../repository/flows/index.js';
import type { TraceHeaders } from '../../../runtime/traceparent.js';
import { toNewExecutions } from '../spec.js';
import type { MemberAsked } from './graph-spec.js';

/** Lanes and classes they need are made on first use: call it when nothing else can be wrong. `ids` are theirs. */
export async function membersOf(
  registry: Registry,
  namespace: number,
  flow: string,
  asked: readonly MemberAsked[],
  ids: readonly string[],
  trace: TraceHeaders | undefined,
): Promise<NewMember[]> {
  const executions = await toNewExecutions(
    registry,
    namespace,
    asked.map(({ execution }) => execution),
    trace,
  );
  return executions.map((execution, i) => ({
    localName: asked[i]?.localName ?? '',
    execution: {
      ...execution,
      id: ids[i] ?? '',
      requestId: null,
      flow: { id: flow, optional: asked[i]?.execution.optionalInFlow ?? false },
    },
  }));
}
