/**
 * FailEntry: an entry could not be handled. Only the first one that the part has left can fail, so that whatever is decided of
 * it (a backoff, the consumer's halt, a dead letter) keeps nothing back that lies before it.
 *
 * Which one that is, the log says: the first that is selected behind the cursor and not parked behind an earlier one.
 */
import { create } from '@bufbuild/protobuf';
import type { HandlerContext } from '@connectrpc/connect';
import { z } from 'zod';
import {
  type FailEntryRequest,
  type FailEntryResponse,
  FailEntryResponseSchema,
} from '../../../../gen/tailrace/v1/completion_service_pb.js';
import { FailEntryEffect } from '../../../../gen/tailrace/v1/consumer_pb.js';
import type { EngineError } from '../../../domain/errors.js';
import { FailureClass } from '../../../domain/states.js';
import { type FailAnswer, failEntry } from '../../../repository/consumers/index.js';
import { toDuration } from '../../conversion/times.js';
import { reportedFailure } from '../../engine/reported-failure.js';
import { required } from '../../engine/required.js';
import { sized } from '../../payload-limits.js';
import { integer, optionalId, refuse, type Shape, timestamp, validate } from '../../validation.js';
import type { CompletionDependencies } from '../index.js';
import { failingEntry } from './failing-entry.js';
import { cursor, holdingOf, ofConsumer, type Places, partRef, placesIn } from './fields.js';
import { consumerNotFound, cursorMoved, epochConflict, letterElsewhere } from './refusals.js';

const MAX_TRIES = 1_000_000;

function failRequest(maxPayloadBytes: number) {
  return z
    .object({
      ...ofConsumer,
      part: required(partRef),
      entryCursor: cursor,
      failure: required(reportedFailure(maxPayloadBytes)),
      deadLetterId: optionalId,
      previousTries: integer(0, MAX_TRIES),
      retryTime: timestamp,
    } satisfies Shape<FailEntryRequest>)
    .check((context) => {
      const { failure, retryTime } = context.value;
      const limited = failure?.failureClass === FailureClass.RATE_LIMITED;
      if (limited === (retryTime !== null)) return;
      const found = limited ? 'is required for RATE_LIMITED' : 'must be absent unless the class is RATE_LIMITED';
      refuse(context.issues, retryTime, found, ['retryTime']);
    });
}

type Asked = z.output<ReturnType<typeof failRequest>>;

export function failEntryCall(deps: CompletionDependencies) {
  const { namespaceId, database, after, consumerWakes } = deps;
  const requestFor = sized(deps, failRequest);
  return async (message: FailEntryRequest, context: HandlerContext): Promise<FailEntryResponse> => {
    const asked = validate(await requestFor(message.namespace), message);
    const namespace = await namespaceId(asked.namespace, context);
    const places = await placesIn(deps, namespace);
    const { failure, deadLetterId: redelivered } = asked;
    const held = holdingOf(asked, namespace);
    const position = places.position(asked.entryCursor);
    const found = redelivered === null ? await failingEntry(deps, held, position, places) : DELIVERED_AGAIN;
    const answer = await failEntry(database, {
      ...held,
      ...found,
      position,
      previousTries: asked.previousTries,
      retryAt: asked.retryTime,
      failure: { class: failure.failureClass, code: failure.code, message: failure.message, details: failure.details },
      redelivered,
    });
    const effect = effectOf(answer, asked, places);
    if (effect !== FailEntryEffect.RETRY) {
      after.committed(1);
      consumerWakes.changed(namespace, asked.consumer);
    }
    return create(FailEntryResponseSchema, {
      effect,
      deadLetterId: effect === FailEntryEffect.PARKED ? (answer.letter ?? '') : '',
      cursor: places.cursor(answer.position ?? 0n),
      tryCount: answer.tries ?? 0,
      ...(effect === FailEntryEffect.RETRY && { retryDelay: toDuration(Math.ceil(answer.retryMs ?? 0)) }),
    });
  };
}

/** Its letter holds what it is. */
const DELIVERED_AGAIN = { before: -1n, letter: null };

/** Throws what the refusal is called. */
function effectOf({ verdict, position }: FailAnswer, asked: Asked, places: Places): FailEntryEffect {
  switch (verdict) {
    case 'retry':
      return FailEntryEffect.RETRY;
    case 'halted':
      return FailEntryEffect.HALTED;
    case 'parked':
      return FailEntryEffect.PARKED;
    default:
      throw refusalOf(verdict, asked, places.cursor(position ?? 0n));
  }
}

function refusalOf(
  verdict: Exclude<FailAnswer['verdict'], 'retry' | 'halted' | 'parked'>,
  { consumer, part, deadLetterId }: Asked,
  current: string,
): EngineError {
  switch (verdict) {
    case 'not_found':
      return consumerNotFound(consumer);
    case 'moved':
      return cursorMoved(current);
    case 'no_letter':
      return letterElsewhere(deadLetterId ?? '');
    default:
      return epochConflict(part);
  }
}
