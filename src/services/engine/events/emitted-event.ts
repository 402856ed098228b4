/** Events that come from an execution: checked, and turned into what is stored. */
import { z } from 'zod';
import type { EmittedEvent } from '../../../../gen/tailrace/v1/event_pb.js';
import type { NewEmission } from '../../../repository/leases/index.js';
import { uuidV7 } from '../../../runtime/random.js';
import { always, type Shape } from '../../validation.js';
import { contentHash, sortedEntries } from '../content-hash.js';
import { eventFields, refuseExpectation } from './event-fields.js';

/** With one completion, and therefore in one batch. */
export const MAX_EMITTED = 10_000;

export function emittedEvent(maxPayloadBytes: number) {
  return z.object(eventFields(maxPayloadBytes) satisfies Shape<EmittedEvent>).check(always(refuseExpectation));
}

export type Emitted = z.output<ReturnType<typeof emittedEvent>>;

/** In their order. Those of one group are a batch, with an id of its own. */
export function toEmissions(emitted: readonly Emitted[]): NewEmission[] {
  const batches = new Map<string, { readonly id: string; size: number }>();
  const places = emitted.map(({ batchGroup: group }) => {
    if (group === null) return null;
    const batch = batches.get(group) ?? { id: uuidV7(), size: 0 };
    batches.set(group, batch);
    return { batch, index: batch.size++ };
  });
  return emitted.map((event, i) => {
    const place = places[i];
    return {
      type: event.type,
      stream: event.stream,
      expectedVersion: event.expectedStreamVersion ?? null,
      batch: place ? { id: place.batch.id, index: place.index, size: place.batch.size } : null,
      schemaVersion: event.schemaVersion,
      tags: event.tags,
      headers: event.headers,
      occurredAt: event.occurTime,
      payload: event.payload,
    };
  });
}

/** Of everything that was asked for. */
export function emittedHash(event: Emitted): string {
  const { type, stream, expectedStreamVersion, batchGroup, schemaVersion, occurTime, tags, headers, payload } = event;
  const fields = [type, stream, expectedStreamVersion?.toString(), batchGroup, schemaVersion, occurTime];
  return contentHash([fields, sortedEntries(tags), sortedEntries(headers)], payload).toString('base64');
}
