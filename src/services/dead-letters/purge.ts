/** PurgeDeadLetters. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type PurgeDeadLettersRequest,
  type PurgeDeadLettersResponse,
  PurgeDeadLettersResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { purgeDeadLetters } from '../../repository/dead-letters/index.js';
import { wallMs } from '../../runtime/clock.js';
import { actorOf } from '../caller.js';
import { namespaceIn } from '../namespace-in.js';
import { HOUR_MS, integerOr, namespace, refuse, type Shape, text, timestamp, validate } from '../validation.js';
import { ACTOR_BYTES, type DeadLetterServiceDeps, NOTE_BYTES } from './deps.js';
import { letterFilter, toLetterFilter } from './filter.js';

/** What was closed a moment ago may yet have to be opened again. */
const closedBefore = timestamp.transform((value, context) => {
  if (value !== null && value.getTime() <= wallMs() - HOUR_MS) return value;
  refuse(context.issues, value, value === null ? 'is required' : 'must be at least an hour ago');
  return z.NEVER;
});

const request = z.object({
  namespace,
  filter: letterFilter,
  closedBeforeTime: closedBefore,
  maxCount: integerOr(1_000, 1, 10_000),
  dryRun: z.boolean(),
  actor: text(ACTOR_BYTES),
  note: text(NOTE_BYTES),
} satisfies Shape<PurgeDeadLettersRequest>);

export function purgeDeadLettersCall({ database, registry, after }: DeadLetterServiceDeps) {
  return async (message: PurgeDeadLettersRequest, context: HandlerContext): Promise<PurgeDeadLettersResponse> => {
    const asked = validate(request, message);
    const { count, more } = await purgeDeadLetters(database, {
      namespace: await namespaceIn(registry, asked.namespace),
      filter: { ...toLetterFilter(asked.filter), states: null },
      closedBefore: asked.closedBeforeTime,
      most: asked.maxCount,
      dry: asked.dryRun,
      actor: actorOf(context, asked.actor),
      note: asked.note,
    });
    if (count > 0 && !asked.dryRun) after.committed(count);
    return create(PurgeDeadLettersResponseSchema, { purgedCount: BigInt(count), more });
  };
}
