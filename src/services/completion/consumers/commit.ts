/** CommitEntries: the cursor of a held part moves, if it stands where the caller says. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type CommitEntriesRequest,
  type CommitEntriesResponse,
  CommitEntriesResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import type { EngineError } from '../../../domain/errors.js';
import { type CommitAnswer, commitPart } from '../../../repository/consumers/index.js';
import { toTimestamp } from '../../conversion/times.js';
import { required } from '../../engine/required.js';
import { id, list, refuse, type Shape, validate } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';
import { cursor, holdingOf, ofConsumer, type Places, partRef, placesIn } from './fields.js';
import { badCursor, consumerNotFound, cursorMoved, epochConflict, letterElsewhere } from './refusals.js';

/** As many as a fetch may answer. */
const MAX_LETTERS = 5_000;

const letters = list(id, MAX_LETTERS).check((context) => {
  const seen = new Set<string>();
  context.value.forEach((one, i) => {
    if (seen.has(one)) refuse(context.issues, one, 'occurs more than once', [i]);
    seen.add(one);
  });
});

const request = z.object({
  ...ofConsumer,
  part: required(partRef),
  fromCursor: cursor,
  toCursor: cursor,
  deadLetterIds: letters,
} satisfies Shape<CommitEntriesRequest>);

export function commitEntriesCall(deps: CompletionDependencies) {
  const { namespaceId, database, after, consumerWakes } = deps;
  return async (message: CommitEntriesRequest, context: HandlerContext): Promise<CommitEntriesResponse> => {
    const asked = validate(request, message);
    const namespace = await namespaceId(asked.namespace, context);
    const places = await placesIn(deps, namespace);
    const answer = await commitPart(database, {
      ...holdingOf(asked, namespace),
      from: places.position(asked.fromCursor),
      to: places.position(asked.toCursor),
      letters: asked.deadLetterIds,
    });
    const { verdict, position, expiresAt, closed } = answer;
    if (verdict !== 'committed' && verdict !== 'duplicate') throw refusalOf(answer, asked, places);
    if (closed > 0) after.committed(1 + closed);
    // Closed letters let others of their keys go, perhaps of another's fetch that waits.
    if (closed > 0) consumerWakes.changed(namespace, asked.consumer);
    else consumerWakes.moved(namespace, asked.consumer);
    return create(CommitEntriesResponseSchema, {
      cursor: places.cursor(position ?? 0n),
      ...(expiresAt && { expireTime: toTimestamp(expiresAt) }),
      duplicate: verdict === 'duplicate',
    });
  };
}

function refusalOf({ verdict, position }: CommitAnswer, asked: z.output<typeof request>, places: Places): EngineError {
  switch (verdict) {
    case 'not_found':
      return consumerNotFound(asked.consumer);
    case 'moved':
      return cursorMoved(places.cursor(position ?? 0n));
    case 'beyond':
      return badCursor('to_cursor lies before from_cursor, or beyond the end of the log');
    case 'no_letter':
      return letterElsewhere(asked.deadLetterIds.join(', '));
    default:
      return epochConflict(asked.part);
  }
}
