/** GetFrameSummary: the document that an attempt keeps up to date. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type GetFrameSummaryRequest,
  type GetFrameSummaryResponse,
  GetFrameSummaryResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import { readSummaries } from '../../../repository/frames/index.js';
import { toPayload } from '../../conversion/payload.js';
import { toTimestamp } from '../../conversion/times.js';
import { type Shape, validate } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';
import { toClosed } from './messages.js';
import { streamFields, streamOf } from './stream.js';

const EMPTY = '{}';

const request = z.object({ ...streamFields } satisfies Shape<GetFrameSummaryRequest>);

export function getFrameSummaryCall({ database, namespaceId }: CompletionDependencies) {
  return async (message: GetFrameSummaryRequest, context: HandlerContext): Promise<GetFrameSummaryResponse> => {
    const asked = validate(request, message);
    const { attempt } = await streamOf(database, await namespaceId(asked.namespace, context), asked);
    const [summary] = await readSummaries(database, [{ execution: asked.executionId, attempt }]);
    if (summary === undefined) throw new Error('a summary was left without an answer');
    const { document, version, patchedAt, closed } = summary;
    return create(GetFrameSummaryResponseSchema, {
      summary: {
        attemptNumber: attempt,
        document: toPayload('application/json', Buffer.from(document ?? EMPTY)),
        version: BigInt(version),
        ...(patchedAt && { updateTime: toTimestamp(patchedAt) }),
        ...(closed && { closed: toClosed(closed) }),
      },
    });
  };
}
