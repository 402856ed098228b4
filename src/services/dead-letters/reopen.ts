/** ReopenDeadLetter. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type ReopenDeadLetterRequest,
  type ReopenDeadLetterResponse,
  ReopenDeadLetterResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { readDeadLetter, reopenDeadLetter } from '../../repository/dead-letters/index.js';
import { actorOf } from '../caller.js';
import { toDeadLetter } from '../conversion/dead-letter.js';
import { namespaceIn } from '../namespace-in.js';
import { counter, id, namespace, type Shape, text, validate } from '../validation.js';
import {
  ACTOR_BYTES,
  type DeadLetterServiceDeps,
  letterChanged,
  letterInWrongState,
  letterNotFound,
  NOTE_BYTES,
} from './deps.js';

const request = z.object({
  namespace,
  deadLetterId: id,
  expectedVersion: counter,
  actor: text(ACTOR_BYTES),
  note: text(NOTE_BYTES),
} satisfies Shape<ReopenDeadLetterRequest>);

export function reopenDeadLetterCall({ database, registry, after }: DeadLetterServiceDeps) {
  return async (message: ReopenDeadLetterRequest, context: HandlerContext): Promise<ReopenDeadLetterResponse> => {
    const asked = validate(request, message);
    const { deadLetterId: letter, expectedVersion, note } = asked;
    const actor = actorOf(context, asked.actor);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    if ((await readDeadLetter(database, namespaceId, letter)) === undefined) throw letterNotFound(letter);
    const answer = await reopenDeadLetter(database, { namespace: namespaceId, letter, expectedVersion, actor, note });
    if (answer.verdict === 'not_found') throw letterNotFound(letter);
    if (answer.verdict === 'conflict') throw letterChanged(letter, answer.version ?? 0n);
    if (answer.verdict === 'wrong_state') throw letterInWrongState(letter, answer.state ?? 0);
    if (answer.verdict === 'reopened') after.committed(1);
    const row = await readDeadLetter(database, namespaceId, letter);
    if (row === undefined) throw letterNotFound(letter);
    return create(ReopenDeadLetterResponseSchema, { deadLetter: toDeadLetter(row, asked.namespace) });
  };
}
