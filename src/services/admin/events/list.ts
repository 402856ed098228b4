/** ListEvents. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ListEventsRequest,
  type ListEventsResponse,
  ListEventsResponseSchema,
} from '../../../../gen/tailrace/v1/admin_service_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import { findEvent, isByVersion, listEvents, readEvents } from '../../../repository/events/index.js';
import { toEvent } from '../../conversion/event.js';
import { namespaceIn } from '../../namespace-in.js';
import { Pages } from '../../paging.js';
import {
  names,
  namespace,
  optionalId,
  optionalName,
  pageSize,
  pageToken,
  type Shape,
  tags,
  timestamp,
  validate,
} from '../../validation.js';
import type { AdminServiceDeps } from '../deps.js';
import { FILTER_VALUES, INLINE_BYTES, NOTHING_INLINE, orNull, tagsOrNull } from '../selection.js';

const request = z.object({
  namespace,
  types: names(FILTER_VALUES).transform(orNull),
  stream: optionalName(),
  flowId: optionalId,
  causeEventId: optionalName(),
  batchId: optionalId,
  tags: tags.transform(tagsOrNull),
  minPublishTime: timestamp,
  maxPublishTime: timestamp,
  includePayloads: z.boolean(),
  pageSize,
  pageToken,
} satisfies Shape<ListEventsRequest>);

export function listEventsCall({ database, registry, source }: AdminServiceDeps) {
  return async (message: ListEventsRequest): Promise<ListEventsResponse> => {
    const { pageSize: size, pageToken: token, includePayloads, ...asked } = validate(request, message);
    const of = await namespaceIn(registry, asked.namespace);
    const cause = asked.causeEventId === null ? null : (await findEvent(database, of, asked.causeEventId))?.id;
    const filter = {
      namespace: of,
      types: asked.types,
      stream: asked.stream,
      flow: asked.flowId,
      cause: cause ?? null,
      batch: asked.batchId,
      tags: asked.tags,
      publishedFrom: asked.minPublishTime,
      publishedBefore: asked.maxPublishTime,
    };
    const pages = new Pages('ListEvents', asked, [isByVersion(filter) ? 'position' : 'id']);
    const [below] = pages.keys(token) ?? [];
    // Nothing is caused by what does not exist.
    if (cause === undefined) return create(ListEventsResponseSchema, {});
    const page = await listEvents(database, filter, below ?? null, size);
    const { incarnation } = await source.head();
    const rows = await readEvents(database, page.ids, includePayloads ? INLINE_BYTES : NOTHING_INLINE);
    return create(ListEventsResponseSchema, {
      events: rows.map((row) => toEvent(row, (position) => cursorAt({ namespace: of, incarnation }, position))),
      nextPageToken: pages.token(page.next === undefined ? undefined : [page.next]),
    });
  };
}
