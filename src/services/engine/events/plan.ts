/**
 * The order in which the events of a call are decided, and what stands or falls together. Everything of a batch group is
 * decided where its first event stands.
 */
import { createHash } from 'node:crypto';
import type { NewEvent } from '../../../repository/events/index.js';
import { uuidV7 } from '../../../runtime/random.js';
import type { TraceHeaders } from '../../../runtime/traceparent.js';
import { type EventAsked, eventHash, madeMsOf } from './event-spec.js';

export interface PlannedEvent {
  /** Its place among the events asked for. */
  readonly at: number;
  readonly event: NewEvent;
}

const NO_HASH = Buffer.alloc(0);

/** `atomic`: all of it is one unit. `trace`: the call's. */
export function planPublication(
  asked: readonly EventAsked[],
  namespace: number,
  atomic: boolean,
  trace?: TraceHeaders,
): PlannedEvent[] {
  const ordered = unitsOf(asked).flatMap((unit, number) => {
    const batch =
      unit.group === null ? null : { id: uuidV7(), newFlow: uuidV7(), company: companyOf(asked, unit.places) };
    return unit.places.map((at, index) => ({ at, number, batch, index, size: unit.places.length }));
  });
  const earlier = new Map<string, number>();
  return ordered.map(({ at, number, batch, index, size }, place) => {
    const item = asked[at] as EventAsked;
    const { eventId, causeEventId: cause } = item;
    const causeAt = (cause === null ? undefined : earlier.get(cause)) ?? null;
    if (eventId !== null) earlier.set(eventId, place);
    const company = batch === null ? '' : `${index}/${batch.company}`;
    const event: NewEvent = {
      namespace,
      eventId,
      madeMs: madeMsOf(eventId),
      hash: eventId === null ? NO_HASH : eventHash(item, company),
      type: item.type,
      stream: item.stream,
      expectedVersion: item.expectedStreamVersion ?? null,
      flow: item.flowId,
      newFlow: batch?.newFlow ?? uuidV7(),
      cause,
      causeAt,
      batch: batch && { id: batch.id, index, size },
      unit: atomic ? 0 : number,
      schemaVersion: item.schemaVersion,
      tags: item.tags,
      headers: tracedHeaders(item.headers, trace),
      occurredAt: item.occurTime,
      payload: item.payload,
    };
    return { at, event };
  });
}

/**
 * The trace of an event is in its headers, so that whoever reads the event finds it. Those that were asked for are content, also
 * a traceparent; one that comes with the call is not: the same event published again from elsewhere is a repeat.
 */
function tracedHeaders(asked: NewEvent['headers'], trace: TraceHeaders | undefined): NewEvent['headers'] {
  if (!trace || 'traceparent' in asked) return asked;
  const { tracestate: _state, ...others } = asked;
  const { traceparent, tracestate } = trace;
  return { ...others, traceparent, ...(tracestate !== '' && { tracestate }) };
}

interface Unit {
  readonly group: string | null;
  readonly places: number[];
}

function unitsOf(asked: readonly EventAsked[]): Unit[] {
  const groups = new Map<string, Unit>();
  const units: Unit[] = [];
  asked.forEach(({ batchGroup: group }, at) => {
    const begun = group === null ? undefined : groups.get(group);
    if (begun) {
      begun.places.push(at);
      return;
    }
    const unit = { group, places: [at] };
    if (group !== null) groups.set(group, unit);
    units.push(unit);
  });
  return units;
}

/** Who is in a batch: an event of another batch is another event. */
function companyOf(asked: readonly EventAsked[], places: readonly number[]): string {
  const ids = places.map((at) => asked[at]?.eventId ?? '');
  return createHash('sha256').update(JSON.stringify(ids)).digest('base64');
}
