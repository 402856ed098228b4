/** ReleaseConsumer: parts are given back, and whoever waits for them gets them at once. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ReleaseConsumerRequest,
  type ReleaseConsumerResponse,
  ReleaseConsumerResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import { releaseParts } from '../../../repository/consumers/index.js';
import { list, type Shape, validate } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';
import { ofConsumer, partRef } from './fields.js';
import { consumerNotFound } from './refusals.js';

/** All parts of a live generation and of one that is rebuilt. */
const MAX_PARTS = 512;

const request = z.object({ ...ofConsumer, parts: list(partRef, MAX_PARTS) } satisfies Shape<ReleaseConsumerRequest>);

export function releaseConsumerCall({ namespaceId, database, after, consumerWakes }: CompletionDependencies) {
  return async (message: ReleaseConsumerRequest, context: HandlerContext): Promise<ReleaseConsumerResponse> => {
    const { consumer, ownerId: owner, parts, ...asked } = validate(request, message);
    const namespace = await namespaceId(asked.namespace, context);
    const wanted = parts.length > 0 ? parts : null;
    const { verdict, released, woke } = await releaseParts(database, { namespace, consumer, owner, parts: wanted });
    if (verdict === 'not_found') throw consumerNotFound(consumer);
    if (released > 0) consumerWakes.changed(namespace, consumer);
    if (woke) after.committed(1);
    return create(ReleaseConsumerResponseSchema, { releasedCount: released });
  };
}
