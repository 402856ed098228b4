/** RedriveDeadLetter of a parked entry: its consumer gets exactly that entry again. */
import { create } from '@bufbuild/protobuf';
import {
  type RedriveDeadLetterResponse,
  RedriveDeadLetterResponseSchema,
} from '../../../gen/tailrace/v1/dead_letter_service_pb.js';
import { EngineError } from '../../domain/errors.js';
import { type EntryRedriveAnswer, readDeadLetter, redriveEntry } from '../../repository/dead-letters/index.js';
import { toDeadLetter } from '../conversion/dead-letter.js';
import { contentHash } from '../engine/content-hash.js';
import {
  type DeadLetterServiceDeps,
  letterChanged,
  letterInWrongState,
  letterNotFound,
  requestIdReused,
} from './deps.js';
import { type BareRedrive, refuseRest } from './redrive-event.js';

/** Undefined when the letter is of something else, or of nothing. */
export async function deliverAgain(
  { database, after, consumerWakes }: DeadLetterServiceDeps,
  asked: BareRedrive,
  namespace: number,
): Promise<RedriveDeadLetterResponse | undefined> {
  const { deadLetterId: letter, requestId, expectedVersion, actor, note } = asked;
  refuseRest(asked);
  const hash = contentHash(['redrive', letter], null);
  const answer = await redriveEntry(database, { namespace, letter, requestId, hash, expectedVersion, actor, note });
  const { verdict } = answer;
  if (verdict === 'not_found') return undefined;
  if (verdict !== 'redriven' && verdict !== 'duplicate') throw refusalOf(answer, letter);
  const row = await readDeadLetter(database, namespace, letter);
  if (row === undefined) throw letterNotFound(letter);
  if (verdict === 'redriven') {
    after.committed(1);
    consumerWakes.changed(namespace, row.consumer_name ?? '');
  }
  return create(RedriveDeadLetterResponseSchema, {
    deadLetter: toDeadLetter(row, asked.namespace),
    duplicate: verdict === 'duplicate',
  });
}

function refusalOf({ verdict, version, state }: EntryRedriveAnswer, letter: string): EngineError {
  switch (verdict) {
    case 'conflict':
      return letterChanged(letter, version ?? 0n);
    case 'wrong_state':
      return letterInWrongState(letter, state ?? 0);
    case 'reused':
      return requestIdReused();
    case 'follower':
      return notNow(letter, 'FOLLOWER', 'an earlier entry of its key is parked; redrive or resolve that one');
    default:
      return notNow(letter, 'GENERATION_REPLACED', 'the generation that parked it was replaced');
  }
}

function notNow(letter: string, state: string, why: string): EngineError {
  return new EngineError('WRONG_STATE', why, { metadata: { dead_letter_id: letter, state } });
}
