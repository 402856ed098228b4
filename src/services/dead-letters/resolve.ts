/** ResolveDeadLetters: closes many, each on its own. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type DeadLetter,
  DeadLetterResolution,
  DeadLetterResolutionSchema,
} from '../../../gen/tailrace/v1/dead_letter_pb.js';
import {
  type DeadLetterRef,
  type ResolveDeadLettersRequest,
  type ResolveDeadLettersResponse,
  ResolveDeadLettersResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import type { EngineError } from '../../domain/errors.js';
import { type ResolveAnswer, readDeadLetters, resolveDeadLetters } from '../../repository/dead-letters/index.js';
import { actorOf } from '../caller.js';
import { toDeadLetter } from '../conversion/dead-letter.js';
import { toItemError } from '../errors.js';
import { namespaceIn } from '../namespace-in.js';
import {
  counter,
  enumNumber,
  id,
  list,
  namespace,
  refuse,
  requestId,
  type Shape,
  text,
  validate,
} from '../validation.js';
import {
  ACTOR_BYTES,
  type DeadLetterServiceDeps,
  letterChanged,
  letterInWrongState,
  letterNotFound,
  NOTE_BYTES,
} from './deps.js';

const MAX_ITEMS = 1_000;

const resolution = enumNumber(DeadLetterResolutionSchema).check((context) => {
  const { value } = context;
  if (value === DeadLetterResolution.UNSPECIFIED) refuse(context.issues, value, 'is required');
  if (value === DeadLetterResolution.REDRIVEN) refuse(context.issues, value, 'must not be REDRIVEN; redrive it');
});

const refs = list(
  z.object({ deadLetterId: id, expectedVersion: counter } satisfies Shape<DeadLetterRef>),
  MAX_ITEMS,
  1,
).check((context) => {
  const seen = new Set<string>();
  context.value.forEach(({ deadLetterId }, i) => {
    if (seen.has(deadLetterId)) refuse(context.issues, deadLetterId, 'occurs more than once', [i, 'deadLetterId']);
    seen.add(deadLetterId);
  });
});

const request = z.object({
  namespace,
  requestId,
  deadLetters: refs,
  resolution,
  actor: text(ACTOR_BYTES),
  note: text(NOTE_BYTES),
} satisfies Shape<ResolveDeadLettersRequest>);

export function resolveDeadLettersCall({ database, registry, after, consumerWakes }: DeadLetterServiceDeps) {
  return async (message: ResolveDeadLettersRequest, context: HandlerContext): Promise<ResolveDeadLettersResponse> => {
    const asked = validate(request, message);
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const answers = await resolveDeadLetters(database, {
      namespace: namespaceId,
      letters: asked.deadLetters.map(({ deadLetterId, expectedVersion }) => ({ id: deadLetterId, expectedVersion })),
      resolution: asked.resolution,
      actor: actorOf(context, asked.actor),
      note: asked.note,
      requestId: asked.requestId,
    });
    after.committed(0);
    // What their ordering keys held up goes on.
    if (answers.some(({ verdict }) => verdict === 'closed')) after.due('followUps', 0);
    const ids = asked.deadLetters.map(({ deadLetterId }) => deadLetterId);
    const rows = await readDeadLetters(database, namespaceId, ids);
    for (const { namespace, consumer_name: consumer } of rows) if (consumer) consumerWakes.changed(namespace, consumer);
    const letters = new Map(rows.map((row) => [row.id, toDeadLetter(row, asked.namespace)]));
    return create(ResolveDeadLettersResponseSchema, {
      results: answers.map((answer, i) => ({ result: resultOf(answer, ids[i] ?? '', letters) })),
    });
  };
}

function resultOf(answer: ResolveAnswer, letter: string, letters: ReadonlyMap<string, DeadLetter>) {
  const row = letters.get(letter);
  if (row && (answer.verdict === 'closed' || answer.verdict === 'already')) return { case: 'ok' as const, value: row };
  return { case: 'error' as const, value: toItemError(refusalOf(answer, letter)) };
}

function refusalOf({ verdict, version, state }: ResolveAnswer, letter: string): EngineError {
  if (verdict === 'conflict') return letterChanged(letter, version ?? 0n);
  if (verdict === 'wrong_state') return letterInWrongState(letter, state ?? 0);
  return letterNotFound(letter);
}
