/** What a client may ask of an event. */
import { z } from 'zod';
import type { EventSpec } from '../../../../gen/tailrace/v1/event_pb.js';
import { NEWEST_ID_MS, timeOfId } from '../../../domain/ids.js';
import { wallMs } from '../../../runtime/clock.js';
import { always, isUuid, optionalId, optionalName, refuse, type Shape, shown } from '../../validation.js';
import { contentHash, sortedEntries } from '../content-hash.js';
import { eventFields, refuseExpectation } from './event-fields.js';

export function eventSpec(maxPayloadBytes: number) {
  return z
    .object({
      eventId: optionalName(),
      ...eventFields(maxPayloadBytes),
      flowId: optionalId,
      causeEventId: optionalName(),
    } satisfies Shape<EventSpec>)
    .check(always(refuseExpectation), always(refuseFuture));
}

function refuseFuture({ value: { eventId }, issues }: z.core.ParsePayload<{ readonly eventId: string | null }>): void {
  if ((madeMsOf(eventId) ?? 0) <= wallMs() + NEWEST_ID_MS) return;
  refuse(issues, eventId, `must not lie more than five minutes ahead; it is ${shown(eventId ?? '')}`, ['eventId']);
}

export type EventAsked = z.output<ReturnType<typeof eventSpec>>;

/** When an id of version 7 says it was made; null for any other text. */
export function madeMsOf(eventId: string | null): number | null {
  return eventId !== null && isUuid(eventId) ? (timeOfId(eventId.toLowerCase()) ?? null) : null;
}

/**
 * Of everything that is stored. What is only checked, the expected version, may be another one when it is asked again;
 * `company` stands for the events of its batch, whatever the group was called.
 */
export function eventHash(asked: EventAsked, company: string): Buffer {
  const { type, stream, flowId, causeEventId, schemaVersion, occurTime } = asked;
  const fields = [type, stream, flowId, causeEventId, schemaVersion, occurTime, company];
  return contentHash([fields, sortedEntries(asked.tags), sortedEntries(asked.headers)], asked.payload);
}
