/** TailFrames: the output of one attempt as it is appended, to its end. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type TailFramesRequest,
  type TailFramesResponse,
  TailFramesResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import { toTimestamp } from '../../conversion/times.js';
import { type Shape, validate } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';
import { toClosed, toFrame } from './messages.js';
import { oneBeginning, startFields, streamFields, wantedOf } from './stream.js';

const request = z.object({ ...streamFields, ...startFields } satisfies Shape<TailFramesRequest>).check(oneBeginning);

export function tailFramesCall({ database, frames: hub, namespaceId }: CompletionDependencies) {
  return async function* (
    message: TailFramesRequest,
    context: Pick<HandlerContext, 'signal' | 'values'>,
  ): AsyncGenerator<TailFramesResponse> {
    const asked = validate(request, message);
    const { wanted, found } = await wantedOf(database, await namespaceId(asked.namespace, context), asked);
    hub.observe(found.now);
    for await (const { frames, cursor, closed } of hub.tail(wanted, context.signal)) {
      const heartbeat = frames.length === 0 && !closed && { cursor, serverTime: toTimestamp(hub.now()) };
      yield create(TailFramesResponseSchema, {
        frames: frames.map((frame) => toFrame(frame, wanted.attempt)),
        ...(heartbeat && { heartbeat }),
        ...(closed && { closed: toClosed(closed) }),
      });
    }
  };
}
