/** What selects entries of the log, whoever reads, watches or reacts to them. */
import { LogEntryKindSchema, type LogFilter } from '../../gen/tailrace/v1/log_pb.js';
import { enumNumbers, LANE_BYTES, names, optionalId, type Shape, tags } from './validation.js';

/** Values of one filter, at most. */
export const FILTER_VALUES = 256;

export const logFilter = {
  kinds: enumNumbers(LogEntryKindSchema),
  flowId: optionalId,
  executionId: optionalId,
  eventTypes: names(FILTER_VALUES),
  lanes: names(FILTER_VALUES, LANE_BYTES),
  types: names(FILTER_VALUES),
  tags,
  streams: names(FILTER_VALUES),
} satisfies Shape<LogFilter>;
