/** What requests to CompletionService may say. Each rule completes what was left out. */
import { z } from 'zod';
import { AwaitMode } from '../../../gen/tailrace/v1/completion_service_pb.js';
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import { isTerminal } from '../../domain/states.js';
import type { WatchStart } from '../../log/live-log.js';
import { id, known, optionalId, text } from './check.js';

const NAME_BYTES = 200;
const LANE_BYTES = 64;
const CURSOR_BYTES = 1_000;
const VALUES = 256;
const AWAITED = 1_000;
const TAGS = 32;
const WAIT_MS = 60_000;

const list = <T extends z.ZodType>(item: T) => z.array(item).max(VALUES, `must have at most ${VALUES} values`);

const tags = z.record(z.string(), z.string()).superRefine((value, context) => {
  const count = Object.keys(value).length;
  if (count > TAGS) context.addIssue(`must have at most ${TAGS} entries, has ${count}`);
  for (const [key, content] of Object.entries(value)) {
    if (!text(1, 64).safeParse(key).success) context.addIssue(`has a key that is not 1 to 64 bytes without NUL`);
    if (!text(0, 256).safeParse(content).success) context.addIssue(`has a value over 256 bytes or with NUL`);
  }
});

const outcome = known(ExecutionState, [ExecutionState.UNSPECIFIED]).refine(isTerminal, 'must be a terminal state');

const namespace = text(0, NAME_BYTES);

const start = {
  start: known(StartPosition),
  cursor: text(0, CURSOR_BYTES),
};

interface Begin {
  readonly start: StartPosition;
  readonly cursor: string;
}

const hasOneStart = (request: Begin) => request.cursor === '' || request.start === StartPosition.UNSPECIFIED;
const oneStart = { path: ['start'], error: 'must not be given together with cursor', when: () => true };

export const watchCompletionsRules = z
  .object({
    namespace,
    filter: z
      .object({
        flowId: optionalId(),
        lanes: list(text(1, LANE_BYTES)),
        types: list(text(1, NAME_BYTES)),
        tags,
        outcomes: list(outcome),
      })
      .optional(),
    ...start,
    omitResults: z.boolean(),
  })
  .refine(hasOneStart, oneStart);

export const watchLogRules = z
  .object({
    namespace,
    filter: z
      .object({
        kinds: list(known(LogEntryKind, [LogEntryKind.UNSPECIFIED])),
        flowId: optionalId(),
        executionId: optionalId(),
        eventTypes: list(text(1, NAME_BYTES)),
        lanes: list(text(1, LANE_BYTES)),
        types: list(text(1, NAME_BYTES)),
        tags,
        streams: list(text(1, NAME_BYTES)),
      })
      .optional(),
    ...start,
    omitPayloads: z.boolean(),
  })
  .refine(hasOneStart, oneStart);

export const awaitExecutionsRules = z.object({
  namespace: namespace.refine((value) => value !== '*', 'must name one namespace'),
  executionIds: z
    .array(id())
    .min(1, 'must name at least one execution')
    .max(AWAITED, `must name at most ${AWAITED} executions`)
    .superRefine((ids, context) => {
      const seen = new Set<string>();
      ids.forEach((value, index) => {
        if (seen.has(value)) context.addIssue({ code: 'custom', path: [index], message: 'is named twice' });
        seen.add(value);
      });
    }),
  mode: known(AwaitMode),
  timeout: z
    .object({ seconds: z.bigint(), nanos: z.number() })
    .transform(({ seconds, nanos }) => Number(seconds) * 1_000 + nanos / 1_000_000)
    .refine((ms) => ms >= 0 && ms <= WAIT_MS, `must be 0 to ${WAIT_MS / 1_000} s`)
    .optional(),
  omitResults: z.boolean(),
});

export function startOf({ start: position, cursor }: Begin): WatchStart {
  if (cursor !== '') return { cursor };
  return position === StartPosition.EARLIEST ? 'earliest' : 'latest';
}
