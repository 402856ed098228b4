/** What requests to CompletionService may say. */
import { z } from 'zod';
import {
  type AwaitExecutionsRequest,
  type AwaitFlowRequest,
  AwaitModeSchema,
  FlowMilestoneSchema,
  type WatchCompletionsRequest,
  type WatchFlowRequest,
  type WatchLogRequest,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type CompletionFilter, StartPosition, StartPositionSchema } from '../../../gen/tailrace/v1/log_pb.js';
import { isTerminal } from '../../domain/states.js';
import type { WatchStart } from '../../log/live-log.js';
import { FILTER_VALUES, logFilter } from '../log-filter.js';
import {
  duration,
  enumNumber,
  id,
  LANE_BYTES,
  list,
  MINUTE_MS,
  NAME_BYTES,
  names,
  namespace,
  optionalId,
  refuse,
  type Shape,
  tags,
  text,
} from '../validation.js';

const CURSOR_BYTES = 1_000;
const AWAITED = 1_000;

/** `*` follows every namespace. */
const watchedNamespace = text(NAME_BYTES).transform((value) => (value === '' ? 'default' : value));

const outcomes = z
  .array(
    enumNumber(ExecutionStateSchema).check((context) => {
      const { value } = context;
      if (value > 0 && !isTerminal(value)) refuse(context.issues, value, `must be a terminal state; it is ${value}`);
    }),
  )
  .transform((values) => (values.includes(0) ? [] : values));

const start = enumNumber(StartPositionSchema);
const cursor = text(CURSOR_BYTES);

export const watchCompletionsRequest = z
  .object({
    namespace: watchedNamespace,
    filter: z
      .object({
        flowId: optionalId,
        lanes: names(FILTER_VALUES, LANE_BYTES),
        types: names(FILTER_VALUES),
        tags,
        outcomes,
      } satisfies Shape<CompletionFilter>)
      .optional(),
    start,
    cursor,
    omitResults: z.boolean(),
  } satisfies Shape<WatchCompletionsRequest>)
  .check(oneStart);

export const watchLogRequest = z
  .object({
    namespace: watchedNamespace,
    filter: z.object(logFilter).optional(),
    start,
    cursor,
    omitPayloads: z.boolean(),
  } satisfies Shape<WatchLogRequest>)
  .check(oneStart);

export const awaitExecutionsRequest = z.object({
  namespace,
  executionIds: list(id, AWAITED, 1).check((context) => {
    const { value } = context;
    value.forEach((one, index) => {
      if (value.indexOf(one) < index) refuse(context.issues, one, `is named twice: "${one}"`, [index]);
    });
  }),
  mode: enumNumber(AwaitModeSchema),
  timeout: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
  omitResults: z.boolean(),
} satisfies Shape<AwaitExecutionsRequest>);

export const watchFlowRequest = z.object({
  namespace,
  flowId: id,
  cursor,
  omitPayloads: z.boolean(),
} satisfies Shape<WatchFlowRequest>);

export const awaitFlowRequest = z.object({
  namespace,
  flowId: id,
  until: enumNumber(FlowMilestoneSchema),
  timeout: duration(0, MINUTE_MS).transform((ms) => ms ?? 0),
} satisfies Shape<AwaitFlowRequest>);

interface Begin {
  readonly start: number;
  readonly cursor: string;
}

export function oneStart({ value, issues }: z.core.ParsePayload<Begin>): void {
  if (value.cursor === '' || value.start === StartPosition.UNSPECIFIED) return;
  refuse(issues, value.start, 'must be absent when cursor is given', ['start']);
}

export function startOf({ start: position, cursor: after }: Begin): WatchStart {
  if (after !== '') return { cursor: after };
  return position === StartPosition.EARLIEST ? 'earliest' : 'latest';
}
