/**
 * Events for giving up: declared with an execution or a subscription, or told with the failure itself. They must not be able
 * to hold up the end of an execution, so they expect nothing of their streams.
 */
import { z } from 'zod';
import { DeadLetterReasonSchema } from '../../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import type { EmittedEvent } from '../../../../gen/tailrace/v1/event_pb.js';
import type { FailureEvent } from '../../../../gen/tailrace/v1/execution_pb.js';
import type { StoredFailureEvent } from '../../conversion/failure-event.js';
import { always, enumNumbers, list, refuse, type Shape } from '../../validation.js';
import { required } from '../required.js';
import { type Emitted, emittedHash } from './emitted-event.js';
import { eventFields } from './event-fields.js';

/** Of one execution, or told with one failure. */
export const MAX_FAILURE_EVENTS = 100;

function unconditional(maxPayloadBytes: number) {
  return z.object(eventFields(maxPayloadBytes) satisfies Shape<EmittedEvent>).check(
    always(({ value, issues }) => {
      const { expectedStreamVersion: expected } = value;
      if (expected === undefined) return;
      const rule = 'must be absent: what is given up is given up whatever its streams have';
      refuse(issues, expected, rule, ['expectedStreamVersion']);
    }),
  );
}

/** Told with a failure, in place of the declared ones. */
export function failureReportEvents(maxPayloadBytes: number) {
  return list(unconditional(maxPayloadBytes), MAX_FAILURE_EVENTS);
}

/** As declared. */
export function failureEvents(maxPayloadBytes: number) {
  const declared = z.object({
    reasons: enumNumbers(DeadLetterReasonSchema),
    event: required(unconditional(maxPayloadBytes)),
  } satisfies Shape<FailureEvent>);
  return list(declared, MAX_FAILURE_EVENTS);
}

export type Declared = z.output<ReturnType<typeof failureEvents>>[number];

/** Null when there are none. */
export function storedFailureEvents(declared: readonly Declared[]): StoredFailureEvent[] | null {
  return declared.length === 0 ? null : declared.map(({ reasons, event }) => ({ ...stored(event), reasons }));
}

/** Of a failure that was told. */
export function storedEvents(told: readonly Emitted[]): StoredFailureEvent[] {
  return told.map(stored);
}

/** Of everything that was asked for. */
export function failureEventsHash(declared: readonly Declared[]): unknown[] {
  return declared.map(({ reasons, event }) => [[...reasons].sort((a, b) => a - b), emittedHash(event)]);
}

function stored(event: Emitted): StoredFailureEvent {
  const { type, payload, stream, batchGroup, schemaVersion, tags, headers, occurTime } = event;
  return {
    type,
    ...(payload && { payload_type: payload.type, payload: payload.body.toString('base64') }),
    ...(stream !== null && { stream }),
    ...(batchGroup !== null && { batch_group: batchGroup }),
    ...(schemaVersion > 0 && { schema_version: schemaVersion }),
    ...(Object.keys(tags).length > 0 && { tags }),
    ...(Object.keys(headers).length > 0 && { headers }),
    ...(occurTime && { occurred_at: occurTime.toISOString() }),
  };
}
