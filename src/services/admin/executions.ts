/** GetExecution and ListExecutions. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ExecutionFilter,
  type GetExecutionRequest,
  type GetExecutionResponse,
  GetExecutionResponseSchema,
  type ListExecutionsRequest,
  type ListExecutionsResponse,
  ListExecutionsResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { ExecutionState, isTerminal } from '../../domain/states.js';
import { listExecutions, readExecution } from '../../repository/inspection/index.js';
import { toExecution } from '../conversion/execution.js';
import { executionNotFound } from '../engine/refusals.js';
import { namespaceIn } from '../namespace-in.js';
import { Pages } from '../paging.js';
import {
  enumNumbers,
  id,
  LANE_BYTES,
  names,
  namespace,
  optionalId,
  optionalName,
  pageSize,
  pageToken,
  type Shape,
  tags,
  timestamp,
  validate,
} from '../validation.js';
import type { AdminServiceDeps } from './deps.js';
import { FILTER_VALUES, INLINE_BYTES, NOTHING_INLINE, orNull, tagsOrNull } from './selection.js';

const getRequest = z.object({ namespace, executionId: id } satisfies Shape<GetExecutionRequest>);

const filter = z.object({
  states: enumNumbers(ExecutionStateSchema).transform(orNull),
  lanes: names(FILTER_VALUES, LANE_BYTES).transform(orNull),
  types: names(FILTER_VALUES).transform(orNull),
  flowId: optionalId,
  tags: tags.transform(tagsOrNull),
  workerName: optionalName(),
  workerInstanceId: optionalName(),
  subscription: optionalName(),
  minCreateTime: timestamp,
  maxCreateTime: timestamp,
  minEndTime: timestamp,
  maxEndTime: timestamp,
  parentExecutionId: optionalId,
} satisfies Shape<ExecutionFilter>);

const listRequest = z.object({
  namespace,
  filter: filter.optional(),
  pageSize,
  pageToken,
  includePayloads: z.boolean(),
} satisfies Shape<ListExecutionsRequest>);

export function getExecutionCall({ database, registry }: AdminServiceDeps) {
  return async (message: GetExecutionRequest): Promise<GetExecutionResponse> => {
    const asked = validate(getRequest, message);
    const row = await readExecution(database, await namespaceIn(registry, asked.namespace), asked.executionId);
    if (row === undefined) throw executionNotFound(asked.executionId);
    return create(GetExecutionResponseSchema, { execution: toExecution(row, asked.namespace) });
  };
}

export function listExecutionsCall({ database, registry }: AdminServiceDeps) {
  return async (message: ListExecutionsRequest): Promise<ListExecutionsResponse> => {
    const asked = validate(listRequest, message);
    const pages = new Pages('ListExecutions', [asked.namespace, asked.filter], ['id']);
    const [below] = pages.keys(asked.pageToken) ?? [];
    const { filter: given } = asked;
    const page = await listExecutions(database, {
      filter: {
        namespace: await namespaceIn(registry, asked.namespace),
        states: statesOf(given),
        lanes: given?.lanes ?? null,
        types: given?.types ?? null,
        tags: given?.tags ?? null,
        workerName: given?.workerName ?? null,
        worker: given?.workerInstanceId ?? null,
        createdFrom: given?.minCreateTime ?? null,
        createdBefore: given?.maxCreateTime ?? null,
        endedFrom: given?.minEndTime ?? null,
        endedBefore: given?.maxEndTime ?? null,
        flow: given?.flowId ?? null,
        parent: given?.parentExecutionId ?? null,
        subscription: given?.subscription ?? null,
      },
      below: below ?? null,
      size: asked.pageSize,
      inlineBytes: asked.includePayloads ? INLINE_BYTES : NOTHING_INLINE,
    });
    return create(ListExecutionsResponseSchema, {
      executions: page.executions.map((row) => toExecution(row, asked.namespace)),
      nextPageToken: pages.token(page.next === undefined ? undefined : [page.next]),
    });
  };
}

/** A worker is that of a RUNNING execution, and only a terminal one has an end: such filters select states, too. */
function statesOf(given: z.output<typeof filter> | undefined): readonly number[] | null {
  const all = Object.values(ExecutionState);
  let states: readonly number[] | null = given?.states ?? null;
  if (given?.workerName || given?.workerInstanceId) {
    states = (states ?? all).filter((state) => state === ExecutionState.RUNNING);
  }
  if (given?.minEndTime || given?.maxEndTime) states = (states ?? all).filter(isTerminal);
  return states;
}
