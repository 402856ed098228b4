/** What calls about events and subscriptions add to a history. */
import { isMessage, type Message } from '@bufbuild/protobuf';
import {
  DeleteSubscriptionRequestSchema,
  DeleteSubscriptionResponseSchema,
  PutSubscriptionRequestSchema,
  PutSubscriptionResponseSchema,
} from '../../../gen/tailrace/v1/admin_service_pb.js';
import {
  CompleteExecutionsRequestSchema,
  CompleteExecutionsResponseSchema,
  type PublishEventResult,
  PublishEventsRequestSchema,
  PublishEventsResponseSchema,
} from '../../../gen/tailrace/v1/engine_service_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { decodeCursor } from '../../../src/domain/cursor.js';
import type { Published, Subscribed } from './event-history.js';
import type { HistoryEvent, Timed } from './history.js';

export function eventEvents(request: Message, response: Message, timed: Timed): HistoryEvent[] {
  if (isMessage(request, PublishEventsRequestSchema) && isMessage(response, PublishEventsResponseSchema)) {
    const namespace = request.namespace || 'default';
    return response.results.map(
      (result, i): Published => ({
        ...{ event: 'published', namespace, ...timed },
        ...answered(result, request.events[i]?.eventId ?? ''),
      }),
    );
  }
  if (isMessage(request, CompleteExecutionsRequestSchema) && isMessage(response, CompleteExecutionsResponseSchema)) {
    return response.results.flatMap(({ result }, i): HistoryEvent[] => {
      const execution = request.completions[i]?.lease?.executionId ?? '';
      return result.case === 'ok' ? [{ event: 'emitted', execution, ids: result.value.eventIds, ...timed }] : [];
    });
  }
  if (isMessage(response, PutSubscriptionResponseSchema) || isMessage(response, DeleteSubscriptionResponseSchema)) {
    return subscribed(request, timed, true);
  }
  return [];
}

/** Of calls that were refused, or whose answer was lost. */
export function refusedEvents(request: Message, verdict: 'refused' | 'unanswered', timed: Timed): HistoryEvent[] {
  if (isMessage(request, PublishEventsRequestSchema)) {
    const namespace = request.namespace || 'default';
    return request.events.map(({ eventId: id }) => ({ event: 'published', namespace, id, verdict, ...timed }));
  }
  return verdict === 'unanswered' ? subscribed(request, timed, false) : [];
}

function answered({ result }: PublishEventResult, asked: string): Pick<Published, 'id' | 'verdict'> {
  if (result.case !== 'ok') return { id: asked, verdict: 'refused' };
  const { eventId: id, duplicate, cursor, streamVersion } = result.value;
  // Of what the log no longer has there is no cursor.
  const position = cursor === '' ? undefined : decodeCursor(cursor).positions[0]?.position;
  const told = { ...(position !== undefined && { position }), version: Number(streamVersion) };
  return { id, verdict: duplicate ? 'duplicate' : 'accepted', ...told };
}

function subscribed(request: Message, timed: Timed, certain: boolean): Subscribed[] {
  if (isMessage(request, PutSubscriptionRequestSchema) && request.subscription) {
    const { namespace, subscription: spec } = request;
    // What those to dead letters start reacts to no event.
    if (spec.filter?.kinds?.includes(LogEntryKind.DEAD_LETTER_OPENED)) return [];
    return [{ event: 'subscribed', namespace: namespace || 'default', name: spec.name, spec, certain, ...timed }];
  }
  if (isMessage(request, DeleteSubscriptionRequestSchema)) {
    const { namespace, subscription: name } = request;
    return [{ event: 'subscribed', namespace: namespace || 'default', name, certain, ...timed }];
  }
  return [];
}
