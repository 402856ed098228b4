/** RedriveDeadLetter of an event: its routing is repeated once. */
import { create } from '@bufbuild/protobuf';
import {
  type RedriveDeadLetterResponse,
  RedriveDeadLetterResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineError, type FieldViolation } from '../../domain/errors.js';
import { type EventRedriveAnswer, readDeadLetter, redriveEvent } from '../../repository/dead-letters/index.js';
import { toDeadLetter } from '../conversion/dead-letter.js';
import type { Content } from '../conversion/payload.js';
import { contentHash } from '../engine/content-hash.js';
import {
  type DeadLetterServiceDeps,
  letterChanged,
  letterInWrongState,
  letterNotFound,
  requestIdReused,
} from './deps.js';

/** Of what is no execution. */
export interface BareRedrive {
  readonly namespace: string;
  readonly requestId: string | null;
  readonly deadLetterId: string;
  readonly expectedVersion: bigint;
  readonly input: Content | null;
  readonly inputPatch: object | null;
  readonly detached: boolean;
  readonly runTime: Date | null;
  readonly lane: string | null;
  readonly actor: string;
  readonly note: string;
}

export async function routeAgain(
  { database, after }: DeadLetterServiceDeps,
  asked: BareRedrive,
  namespace: number,
): Promise<RedriveDeadLetterResponse> {
  const { deadLetterId: letter, requestId, expectedVersion, actor, note } = asked;
  refuseRest(asked);
  const hash = contentHash(['redrive', letter], null);
  const answer = await redriveEvent(database, { namespace, letter, requestId, hash, expectedVersion, actor, note });
  if (answer.verdict !== 'redriven' && answer.verdict !== 'duplicate') throw refusalOf(answer, letter);
  if (answer.verdict === 'redriven') {
    after.committed(1);
    after.due('routes', 0);
  }
  const row = await readDeadLetter(database, namespace, letter);
  if (row === undefined) throw letterNotFound(letter);
  return create(RedriveDeadLetterResponseSchema, {
    deadLetter: toDeadLetter(row, asked.namespace),
    duplicate: answer.verdict === 'duplicate',
  });
}

/** An event is what it is, and so is an entry; their subscriptions and consumers say what becomes of them. */
export function refuseRest({ input, inputPatch, detached, runTime, lane }: BareRedrive): void {
  const given = {
    input: input !== null,
    input_patch: inputPatch !== null,
    detached,
    run_time: runTime !== null,
    lane: lane !== null,
  };
  const violations: FieldViolation[] = Object.entries(given)
    .filter(([, isGiven]) => isGiven)
    .map(([field]) => ({ field, description: 'must be absent: only executions have it' }));
  const [first] = violations;
  if (first) throw new EngineError('INVALID_FIELD', `${first.field} ${first.description}`, { violations });
}

function refusalOf({ verdict, version, state, event }: EventRedriveAnswer, letter: string): EngineError {
  switch (verdict) {
    case 'conflict':
      return letterChanged(letter, version ?? 0n);
    case 'wrong_state':
      return letterInWrongState(letter, state ?? 0);
    case 'reused':
      return requestIdReused({ execution_id: event ?? '' });
    case 'canceled':
      return new EngineError('WRONG_STATE', 'its flow is canceled', {
        metadata: { dead_letter_id: letter, state: 'CANCELED' },
      });
    default:
      return letterNotFound(letter);
  }
}
