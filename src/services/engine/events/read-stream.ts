/** ReadStream. */
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import {
  type ReadStreamRequest,
  type ReadStreamResponse,
  ReadStreamResponseSchema,
} from '../../../../gen/tailrace/v1/engine_service_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import { EngineError } from '../../../domain/errors.js';
import { readEvents, readStream, WHOLE_PAYLOADS } from '../../../repository/events/index.js';
import { toEvent } from '../../conversion/event.js';
import { namespaceIn } from '../../namespace-in.js';
import { counter, name, namespace, pageSize, type Shape, validate } from '../../validation.js';
import type { EngineServiceDeps } from '../deps.js';

const request = z.object({
  namespace,
  stream: name(),
  fromVersion: counter,
  backward: z.boolean(),
  pageSize,
} satisfies Shape<ReadStreamRequest>);

const LAST_VERSION = 2n ** 63n - 1n;
/** Of payloads; a page ends with the event that reaches it. */
const PAGE_BYTES = 4 * 2 ** 20;

export function readStreamCall({ database, registry, log }: EngineServiceDeps) {
  return async (message: ReadStreamRequest): Promise<ReadStreamResponse> => {
    const asked = validate(request, message);
    const { stream, backward } = asked;
    const from = asked.fromVersion || (backward ? LAST_VERSION : 1n);
    const of = await namespaceIn(registry, asked.namespace);
    const wanted = { namespace: of, stream, from, backward, events: asked.pageSize, bytes: PAGE_BYTES };
    const page = await readStream(database, wanted);
    if (page === undefined) {
      throw new EngineError('STREAM_NOT_FOUND', `there is no stream ${stream}`, { metadata: { stream } });
    }
    const incarnation = await log.incarnation();
    const rows = await readEvents(database, page.ids, WHOLE_PAYLOADS);
    const first = rows[0]?.version ?? page.head + 1n;
    if (!backward && from <= page.head && first > from) throw pruned(stream, first);
    return create(ReadStreamResponseSchema, {
      events: rows.map((row) => toEvent(row, (position) => cursorAt({ namespace: of, incarnation }, position))),
      streamVersion: page.head,
    });
  };
}

function pruned(stream: string, earliest: bigint): EngineError {
  return new EngineError('CURSOR_PRUNED', `the stream has events from version ${earliest} on`, {
    metadata: { stream, earliest_version: String(earliest) },
  });
}
