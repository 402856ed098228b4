/** RedriveDeadLetter. */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type RedriveDeadLetterRequest,
  type RedriveDeadLetterResponse,
  RedriveDeadLetterResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { tellConsequences, untilMs } from '../../dispatch/after-commit.js';
import { EngineError } from '../../domain/errors.js';
import {
  type RedriveAnswer,
  type Redriven,
  readDeadLetter,
  redriveDeadLetter,
} from '../../repository/dead-letters/index.js';
import { uuidV7 } from '../../runtime/random.js';
import { actorOf } from '../caller.js';
import { toDeadLetter } from '../conversion/dead-letter.js';
import { contentHash } from '../engine/content-hash.js';
import { namespaceIn } from '../namespace-in.js';
import { payloadBytesOf, sized } from '../payload-limits.js';
import {
  always,
  counter,
  id,
  namespace,
  optionalLane,
  payload,
  refuse,
  requestId,
  type Shape,
  text,
  timestamp,
  validate,
} from '../validation.js';
import {
  ACTOR_BYTES,
  type DeadLetterServiceDeps,
  letterChanged,
  letterInWrongState,
  letterNotFound,
  NOTE_BYTES,
  requestIdReused,
} from './deps.js';
import { inputPatch, notJson, patchedTooLarge } from './input-patch.js';
import { deliverAgain } from './redrive-entry.js';
import { routeAgain } from './redrive-event.js';

export function redriveDeadLetterCall(deps: DeadLetterServiceDeps) {
  const { database, registry, after } = deps;
  const requestFor = sized(deps, (mostBytes) =>
    z
      .object({
        namespace,
        requestId,
        deadLetterId: id,
        expectedVersion: counter,
        input: payload(mostBytes),
        detached: z.boolean(),
        runTime: timestamp,
        lane: optionalLane,
        actor: text(ACTOR_BYTES),
        note: text(NOTE_BYTES),
        inputPatch: inputPatch(mostBytes),
      } satisfies Shape<RedriveDeadLetterRequest>)
      .check(
        always(({ issues, value: { input, inputPatch: patch } }) => {
          if (input && patch) refuse(issues, patch, 'must be absent where `input` is given', ['inputPatch']);
        }),
      ),
  );
  return async (message: RedriveDeadLetterRequest, context: HandlerContext): Promise<RedriveDeadLetterResponse> => {
    const mostBytes = await payloadBytesOf(deps, message.namespace);
    const said = validate(await requestFor(message.namespace), message);
    const asked = { ...said, actor: actorOf(context, said.actor) };
    const { deadLetterId: letter, input, inputPatch: patch, runTime, lane } = asked;
    const what = ['redrive', letter, runTime, lane, asked.detached, ...(patch ? [patch.text] : [])];
    const namespaceId = await namespaceIn(registry, asked.namespace);
    const answer = await redriveDeadLetter(database, {
      namespace: namespaceId,
      letter,
      id: uuidV7(),
      requestId: asked.requestId,
      hash: contentHash(what, input),
      expectedVersion: asked.expectedVersion,
      input,
      edit: patch && { patch: patch.text, mostBytes },
      lane,
      runAt: runTime,
      detached: asked.detached,
      actor: asked.actor,
      note: asked.note,
    });
    if (answer.verdict === 'not_execution') {
      return (await deliverAgain(deps, asked, namespaceId)) ?? (await routeAgain(deps, asked, namespaceId));
    }
    if (!isDone(answer)) {
      const isHidden =
        answer.verdict === 'wrong_state' && (await readDeadLetter(database, namespaceId, letter)) === undefined;
      throw isHidden ? letterNotFound(letter) : refusalOf(answer, letter, mostBytes);
    }
    // Another lane may have got a class of this type, which a wake-up must know.
    if (lane !== null) await registry.refresh();
    if (answer.verdict === 'redriven') {
      after.committed(1 + answer.downstreams.length);
      tellConsequences(after, answer);
      if (runTime) after.due('scheduled', untilMs(runTime));
    }
    const row = await readDeadLetter(database, namespaceId, letter);
    if (row === undefined) throw letterNotFound(letter);
    return create(RedriveDeadLetterResponseSchema, {
      deadLetter: toDeadLetter(row, asked.namespace),
      executionId: answer.execution,
      downstreamExecutionIds: [...answer.downstreams],
      duplicate: answer.verdict === 'duplicate',
    });
  };
}

type Refused = Exclude<RedriveAnswer, Redriven | { readonly verdict: 'not_execution' }>;

function isDone(answer: RedriveAnswer): answer is Redriven {
  return answer.verdict === 'redriven' || answer.verdict === 'duplicate';
}

function refusalOf(answer: Refused, letter: string, maxPayloadBytes: number): EngineError {
  switch (answer.verdict) {
    case 'not_found':
      return letterNotFound(letter);
    case 'conflict':
      return letterChanged(letter, answer.version);
    case 'wrong_state':
      return letterInWrongState(letter, answer.state);
    case 'reused':
      return requestIdReused({ execution_id: answer.execution });
    case 'closed':
      return new EngineError('LANE_CLOSED', 'the lane is draining and takes no new work', {
        metadata: { dead_letter_id: letter },
      });
    case 'canceled':
      return new EngineError('WRONG_STATE', 'its flow is canceled; only a detached redrive is possible', {
        metadata: { dead_letter_id: letter, state: 'CANCELED' },
      });
    case 'not_json':
      return notJson();
    case 'too_large':
      return patchedTooLarge(maxPayloadBytes);
  }
}
