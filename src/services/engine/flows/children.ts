/** Executions that a running one spawns: they join its flow, and are made once, with the call that accepts them. */
import { z } from 'zod';
import type { ChildSpec } from '../../../../gen/tailrace/v1/engine_service_pb.js';
import type { Registry } from '../../../dispatch/registry.js';
import type { NewExecution } from '../../../repository/executions/index.js';
import type { TraceHeaders } from '../../../runtime/traceparent.js';
import { optionalName, type Shape } from '../../validation.js';
import { required } from '../required.js';
import { executionSpec, type Spec, toNewExecutions } from '../spec.js';

export const MAX_CHILDREN = 1_000;

export function childSpec(maxPayloadBytes: number) {
  return z.object({
    name: optionalName(),
    execution: required(executionSpec(maxPayloadBytes, 'child')),
    optional: z.boolean(),
    source: optionalName(),
  } satisfies Shape<ChildSpec>);
}

/** Their ids rise with their places, so that a repeat can tell which was asked for first. */
export async function childrenOf(
  registry: Registry,
  namespace: number,
  parent: string,
  specs: readonly Spec[],
  trace: TraceHeaders | undefined,
): Promise<NewExecution[]> {
  const made = await toNewExecutions(registry, namespace, specs, trace);
  const ids = made.map(({ id }) => id).sort();
  return made.map((execution, i) => ({
    ...execution,
    id: ids[i] ?? execution.id,
    flow: { id: parent, optional: specs[i]?.optionalInFlow ?? false },
    parent,
  }));
}
