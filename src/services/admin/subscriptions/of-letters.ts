/** What a subscription to dead letters may not say: what only events have, or have an order and a past for. */
import { DeadHeadPolicy } from '../../../../gen/tailrace/v1/execution_pb.js';
import { LogEntryKind, StartPosition } from '../../../../gen/tailrace/v1/log_pb.js';
import { refuse } from '../../validation.js';
import type { Spec } from './spec.js';

type Checked = Parameters<typeof refuse>[0];

export function refuseForLetters({ issues, value }: { readonly issues: Checked; readonly value: Spec }): void {
  const { filter } = value;
  const wrong = (given: unknown, ...path: string[]) =>
    refuse(issues, given, 'must be absent in a subscription to dead letters', path);
  const lists = { eventTypes: filter?.eventTypes ?? [], streams: filter?.streams ?? [] };
  for (const [field, values] of Object.entries(lists)) if (values.length > 0) wrong(values, 'filter', field);
  if (filter?.executionId) wrong(filter.executionId, 'filter', 'executionId');
  if (filter?.kinds.some((kind) => kind !== LogEntryKind.DEAD_LETTER_OPENED)) {
    refuse(issues, filter.kinds, 'must be of dead letters alone, or of events alone', ['filter', 'kinds']);
  }
  const { payloadMatches, eventTypePrefixes, streamPrefixes, failureEvents } = value;
  for (const [field, values] of Object.entries({ payloadMatches, eventTypePrefixes, streamPrefixes, failureEvents })) {
    if (values.length > 0) wrong(values, field);
  }
  if (Object.keys(value.headers).length > 0) wrong(value.headers, 'headers');
  const { concurrencyKey, orderingKey, batchJoin } = value;
  for (const [field, given] of Object.entries({ concurrencyKey, orderingKey, batchJoin })) {
    if (given !== undefined) wrong(given, field);
  }
  if (value.deadHeadPolicy !== DeadHeadPolicy.UNSPECIFIED) wrong(value.deadHeadPolicy, 'deadHeadPolicy');
  if (value.optionalInFlow) wrong(true, 'optionalInFlow');
  if (value.start === StartPosition.EARLIEST) wrong(value.start, 'start');
  if (value.cursor !== '') wrong(value.cursor, 'cursor');
}
