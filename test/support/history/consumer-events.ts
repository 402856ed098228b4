/** What calls of the members of consumers add to a history. */
import { isMessage, type Message } from '@bufbuild/protobuf';
import { ResetConsumerRequestSchema } from '../../../gen/tailrace/v1/admin_service_pb.js';
import {
  CommitEntriesRequestSchema,
  CommitEntriesResponseSchema,
  FailEntryRequestSchema,
  FailEntryResponseSchema,
  FetchEntriesRequestSchema,
  FetchEntriesResponseSchema,
} from '../../../gen/tailrace/v1/completion_service_pb.js';
import { type ConsumerPartRef, FailEntryEffect } from '../../../gen/tailrace/v1/consumer_pb.js';
import { decodeCursor } from '../../../src/domain/cursor.js';
import type { EntriesCommitted, EntryFailed, OfPart } from './consumer-history.js';
import type { HistoryEvent, Timed } from './history.js';

export function consumerEvents(request: Message, response: Message, timed: Timed): HistoryEvent[] {
  if (isMessage(request, FetchEntriesRequestSchema) && isMessage(response, FetchEntriesResponseSchema)) {
    const { fromCursor, toCursor, deliveries } = response;
    const entries = deliveries.map(({ entry, deadLetterId: letter }) => ({
      position: positionIn(entry?.cursor ?? ''),
      letter,
    }));
    const range = { from: positionIn(fromCursor), to: positionIn(toCursor) };
    return [{ event: 'delivered', ...partOf(request), ...range, entries, ...timed }];
  }
  if (isMessage(request, CommitEntriesRequestSchema) && isMessage(response, CommitEntriesResponseSchema)) {
    return committed(request, response.duplicate ? 'duplicate' : 'accepted', timed);
  }
  if (isMessage(request, FailEntryRequestSchema) && isMessage(response, FailEntryResponseSchema)) {
    const parked = response.effect === FailEntryEffect.PARKED && request.deadLetterId === '';
    return failed(request, parked, 'accepted', timed);
  }
  return reset(request, timed);
}

/** Of calls whose answer was lost. One that was refused has changed nothing. */
export function unansweredConsumer(request: Message, timed: Timed): HistoryEvent[] {
  return [
    ...committed(request, 'unanswered', timed),
    ...failed(request, false, 'unanswered', timed),
    ...reset(request, timed),
  ];
}

function committed(request: Message, verdict: EntriesCommitted['verdict'], timed: Timed): HistoryEvent[] {
  if (!isMessage(request, CommitEntriesRequestSchema)) return [];
  const { fromCursor, toCursor, deadLetterIds: letters } = request;
  const range = { from: positionIn(fromCursor), to: positionIn(toCursor) };
  return [{ event: 'committed', ...partOf(request), ...range, letters, verdict, ...timed }];
}

function failed(request: Message, parked: boolean, verdict: EntryFailed['verdict'], timed: Timed): HistoryEvent[] {
  if (!isMessage(request, FailEntryRequestSchema)) return [];
  const { entryCursor, deadLetterId: letter } = request;
  const position = positionIn(entryCursor);
  return [{ event: 'entry failed', ...partOf(request), position, letter, parked, verdict, ...timed }];
}

function reset(request: Message, timed: Timed): HistoryEvent[] {
  if (!isMessage(request, ResetConsumerRequestSchema)) return [];
  return [{ event: 'consumer reset', consumer: `${request.namespace || 'default'}/${request.consumer}`, ...timed }];
}

interface Asking {
  readonly namespace: string;
  readonly consumer: string;
  readonly ownerId: string;
  readonly part?: Pick<ConsumerPartRef, 'generation' | 'part' | 'epoch'> | undefined;
}

function partOf({ namespace, consumer, ownerId: owner, part }: Asking): OfPart {
  const { generation = 0n, epoch = 0n } = part ?? {};
  return { consumer: `${namespace || 'default'}/${consumer}`, generation, part: part?.part ?? 0, epoch, owner };
}

function positionIn(cursor: string): bigint {
  return cursor === '' ? -1n : (decodeCursor(cursor).positions[0]?.position ?? -1n);
}
