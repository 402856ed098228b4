/** ReadFrames: a page of what is stored. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ReadFramesRequest,
  type ReadFramesResponse,
  ReadFramesResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import { cursorAt } from '../../../frames/source.js';
import { pageSize, type Shape, validate } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';
import { toClosed, toFrame } from './messages.js';
import { oneBeginning, startFields, streamFields, wantedOf } from './stream.js';

/** Larger pages come in parts; their cursors tell where they go on. */
const PAGE_BYTES = 4 * 1024 * 1024;

const request = z
  .object({ ...streamFields, ...startFields, pageSize } satisfies Shape<ReadFramesRequest>)
  .check(oneBeginning);

export function readFramesCall({ database, frameSource, namespaceId }: CompletionDependencies) {
  return async (message: ReadFramesRequest, context: HandlerContext): Promise<ReadFramesResponse> => {
    const asked = validate(request, message);
    const { wanted } = await wantedOf(database, await namespaceId(asked.namespace, context), asked);
    const [page] = await frameSource.read([wanted], { frames: asked.pageSize, bytes: PAGE_BYTES });
    if (page === undefined) throw new Error('a stream was looked at and left without an answer');
    const { frames, place, more, closed } = page;
    return create(ReadFramesResponseSchema, {
      frames: frames.map((frame) => toFrame(frame, wanted.attempt)),
      cursor: cursorAt(wanted, place),
      more,
      ...(closed && { closed: toClosed(closed) }),
    });
  };
}
