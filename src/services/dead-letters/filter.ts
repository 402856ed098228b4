/** What selects dead letters in a request. */
import { z } from 'zod';
import {
  type DeadLetterFilter,
  DeadLetterResolutionSchema,
  DeadLetterStateSchema,
} from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReasonSchema } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { LetterFilter } from '../../repository/dead-letters/index.js';
import {
  enumNumbers,
  LANE_BYTES,
  names,
  optionalId,
  optionalName,
  type Shape,
  tags,
  timestamp,
} from '../validation.js';

const VALUES = 256;

export const letterFilter = z
  .object({
    lanes: names(VALUES, LANE_BYTES),
    types: names(VALUES),
    reasons: enumNumbers(DeadLetterReasonSchema),
    fingerprints: names(VALUES),
    subscriptions: names(VALUES),
    consumers: names(VALUES),
    flowId: optionalId,
    eventTypes: names(VALUES),
    tags,
    minCreateTime: timestamp,
    maxCreateTime: timestamp,
    states: enumNumbers(DeadLetterStateSchema),
    resolutions: enumNumbers(DeadLetterResolutionSchema),
    actor: optionalName(),
    executionId: optionalId,
  } satisfies Shape<DeadLetterFilter>)
  .optional();

/** An empty field selects everything. */
export function toLetterFilter(given: z.output<typeof letterFilter>): LetterFilter {
  return {
    states: orNull(given?.states),
    lanes: orNull(given?.lanes),
    types: orNull(given?.types),
    reasons: orNull(given?.reasons),
    fingerprints: orNull(given?.fingerprints),
    resolutions: orNull(given?.resolutions),
    tags: given === undefined || Object.keys(given.tags).length === 0 ? null : given.tags,
    actor: given?.actor ?? null,
    createdFrom: given?.minCreateTime ?? null,
    createdBefore: given?.maxCreateTime ?? null,
    execution: given?.executionId ?? null,
    flow: given?.flowId ?? null,
    subscriptions: orNull(given?.subscriptions),
    eventTypes: orNull(given?.eventTypes),
    consumers: orNull(given?.consumers),
  };
}

function orNull<T>(values: readonly T[] | undefined): readonly T[] | null {
  return values === undefined || values.length === 0 ? null : values;
}
