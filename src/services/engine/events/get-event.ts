/** GetEvent. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type GetEventRequest,
  type GetEventResponse,
  GetEventResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import { findEvent, readEvents, WHOLE_PAYLOADS } from '../../../repository/events/index.js';
import { toEvent } from '../../conversion/event.js';
import { namespaceIn } from '../../namespace-in.js';
import { name, namespace, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';

const request = z.object({ namespace, eventId: name() } satisfies Shape<GetEventRequest>);

export function getEventCall({ database, registry, log }: EngineServiceDeps) {
  return async (message: GetEventRequest): Promise<GetEventResponse> => {
    const asked = validate(request, message);
    const of = await namespaceIn(registry, asked.namespace);
    const found = await findEvent(database, of, asked.eventId);
    if (!found?.shown) return create(GetEventResponseSchema, { accepted: found?.remembered ?? false });
    const [row] = await readEvents(database, [found.id], WHOLE_PAYLOADS);
    const incarnation = await log.incarnation();
    return create(GetEventResponseSchema, {
      accepted: true,
      ...(row && { event: toEvent(row, (position) => cursorAt({ namespace: of, incarnation }, position)) }),
    });
  };
}
