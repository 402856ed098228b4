/** What a consumer may ask for, and how that becomes its columns. */
import { create, toJson } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ConsumerSpec,
  ConsumerSpecSchema,
  PoisonPolicy,
  PoisonPolicySchema,
  SplitKey,
  SplitKeySchema,
} from '../../../../gen/tailrace/v1/consumer_pb.js';
import { StartPosition, StartPositionSchema } from '../../../../gen/tailrace/v1/log_pb.js';
import type { ConsumerRule } from '../../../repository/consumers/index.js';
import { toDuration } from '../../conversion/times.js';
import { logFilter } from '../../log-filter.js';
import {
  always,
  DAY_MS,
  duration,
  enumNumber,
  integer,
  integerOr,
  name,
  refuse,
  SECOND_MS,
  type Shape,
  text,
} from '../../validation.js';

export const MAX_PARTS = 256;
export const CURSOR_BYTES = 1_000;
const MAX_TRIES = 100;
const MAX_PARKED = 100_000;
const DEFAULT_PARKED = 10_000;
const DEFAULT_TRIES = 3;
const LONGEST_BACKOFF_MS = 30 * DAY_MS;
const DEFAULT_CAP_MS = 30 * SECOND_MS;

export const consumerSpec = z
  .object({
    name: name(),
    filter: z.object(logFilter).optional(),
    splitKey: enumNumber(SplitKeySchema).transform((key) => key || SplitKey.FLOW),
    partCount: integer(0, MAX_PARTS),
    start: enumNumber(StartPositionSchema),
    cursor: text(CURSOR_BYTES),
    maxTries: integerOr(DEFAULT_TRIES, 1, MAX_TRIES),
    initialBackoff: duration(0, LONGEST_BACKOFF_MS),
    maxBackoff: duration(0, LONGEST_BACKOFF_MS),
    poisonPolicy: enumNumber(PoisonPolicySchema).transform((policy) => policy || PoisonPolicy.HALT),
    maxParked: integerOr(DEFAULT_PARKED, 1, MAX_PARKED),
    holdLog: z.boolean(),
  } satisfies Shape<ConsumerSpec>)
  .check(
    always((context) => {
      const { start, cursor, initialBackoff, maxBackoff } = context.value;
      if (cursor !== '' && start !== StartPosition.UNSPECIFIED) {
        refuse(context.issues, start, 'must be absent when cursor is given', ['start']);
      }
      const first = initialBackoff ?? SECOND_MS;
      if (maxBackoff !== null && maxBackoff < first) {
        const found = `must not be shorter than initial_backoff, ${first} ms; it is ${maxBackoff} ms`;
        refuse(context.issues, maxBackoff, found, ['maxBackoff']);
      }
    }),
  );

export type Spec = z.output<typeof consumerSpec>;

export function toRule(spec: Spec): ConsumerRule {
  const initialMs = spec.initialBackoff ?? SECOND_MS;
  const capMs = spec.maxBackoff ?? Math.max(DEFAULT_CAP_MS, initialMs);
  return {
    split_key: spec.splitKey,
    max_tries: spec.maxTries,
    initial_backoff_ms: initialMs,
    max_backoff_ms: capMs,
    parks: spec.poisonPolicy === PoisonPolicy.PARK,
    max_parked: spec.maxParked,
    hold_log: spec.holdLog,
    spec: storedSpec(spec, initialMs, capMs),
  };
}

/** Equal content is equal: sets in order, defaults filled in, without what counts at the making only. */
function storedSpec({ filter, ...spec }: Spec, initialMs: number, capMs: number): unknown {
  const stored = create(ConsumerSpecSchema, {
    name: spec.name,
    splitKey: spec.splitKey,
    maxTries: spec.maxTries,
    initialBackoff: toDuration(initialMs),
    maxBackoff: toDuration(capMs),
    poisonPolicy: spec.poisonPolicy,
    maxParked: spec.maxParked,
    holdLog: spec.holdLog,
    ...(filter && {
      filter: {
        kinds: filter.kinds,
        flowId: filter.flowId ?? '',
        executionId: filter.executionId ?? '',
        eventTypes: filter.eventTypes.sort(),
        lanes: filter.lanes.sort(),
        types: filter.types.sort(),
        tags: { ...filter.tags },
        streams: filter.streams.sort(),
      },
    }),
  });
  return toJson(ConsumerSpecSchema, stored);
}
