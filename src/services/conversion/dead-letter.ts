/** Dead letters in the words of the contract. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type DeadLetter,
  DeadLetterSchema,
  type DeadLetterSubjectSchema,
} from '../../../gen/tailrace/v1/dead_letter_pb.js';
import { DeadLetterReason } from '../../../gen/tailrace/v1/dead_letter_reason_pb.js';
import { cursorAt } from '../../domain/cursor.js';
import type { LetterRow } from '../../repository/dead-letters/index.js';
import { toFailure } from './failure.js';
import { toPayload } from './payload.js';
import { toTimestamp } from './times.js';

/** What a letter is about, as it is stored. */
const EVENT = 2;
const ENTRY = 3;

/** As the end of the join wrote it into the details. */
interface SlotsSeen {
  readonly arrived: readonly { readonly name: string }[];
  readonly missing: readonly { readonly name: string }[];
}

export function toDeadLetter(row: LetterRow, namespace: string): DeadLetter {
  return create(DeadLetterSchema, {
    deadLetterId: row.id,
    namespace,
    subject: subjectOf(row),
    reason: row.reason,
    state: row.state,
    resolution: row.resolution ?? 0,
    version: row.version,
    lane: row.lane,
    type: row.type,
    flowId: row.flow ?? '',
    eventId: row.event_id ?? '',
    eventType: row.event_type ?? '',
    subscription: row.subscription ?? '',
    consumer: row.consumer_name ?? '',
    tags: { ...row.tags },
    inputOmitted: row.input_omitted,
    failure: toFailure(row),
    fingerprint: row.fingerprint,
    attemptCount: row.attempts,
    firstFailureTime: toTimestamp(row.first_failure_at),
    lastFailureTime: toTimestamp(row.last_failure_at),
    redriveCount: row.redrives,
    redriveExecutionId: row.redrives > 0 ? (row.last_execution ?? '') : '',
    redriveId: row.redrive ?? '',
    actor: row.actor,
    note: row.note,
    createTime: toTimestamp(row.created_at),
    ...slotsOf(row),
    ...(row.input_type !== null && row.input !== null && { input: toPayload(row.input_type, row.input) }),
    ...(row.edited_type !== null && row.edited !== null && { editedInput: toPayload(row.edited_type, row.edited) }),
    ...(row.last_redrive_at && { redriveTime: toTimestamp(row.last_redrive_at) }),
    ...(row.closed_at && { closeTime: toTimestamp(row.closed_at) }),
  });
}

function subjectOf(row: LetterRow): MessageInitShape<typeof DeadLetterSubjectSchema> {
  if (row.subject === EVENT) return { subject: { case: 'eventId', value: row.event_id ?? '' } };
  if (row.subject !== ENTRY) return { subject: { case: 'executionId', value: row.execution ?? '' } };
  const scope = { namespace: row.namespace, incarnation: row.incarnation ?? '' };
  return {
    subject: {
      case: 'consumerEntry',
      value: {
        consumer: row.consumer_name ?? '',
        generation: row.generation ?? 0n,
        part: row.part ?? 0,
        cursor: cursorAt(scope, row.position ?? 0n),
        key: row.entry_key ?? '',
        follower: row.follower,
      },
    },
  };
}

/** Nothing where the details were left out. The reason is that of the run that wrote them. */
function slotsOf({ reason, details }: LetterRow): { filledSlots?: string[]; missingSlots?: string[] } {
  if (reason !== DeadLetterReason.JOIN_EXPIRED || details === null) return {};
  const { arrived, missing } = JSON.parse(details.toString()) as SlotsSeen;
  return { filledSlots: arrived.map(({ name }) => name), missingSlots: missing.map(({ name }) => name) };
}
