/** Entries as letters keep them while they are parked: as they were delivered, and what people look for in letters. */
import { toBinary } from '@bufbuild/protobuf';
import { LogEntrySchema } from '../../../../gen/tailrace/v1/log_pb.js';
import { cursorAt } from '../../../domain/cursor.js';
import type { LogRecord } from '../../../log/record.js';
import { recordKey, type Selection } from '../../../log/selection.js';
import type { EntryLetter } from '../../../repository/consumers/index.js';
import type { Runner } from '../../../repository/database.js';
import { readEvents, WHOLE_PAYLOADS } from '../../../repository/events/index.js';
import { type Shown, toLogEntry } from '../entries.js';

/** Whose cursors entries carry. */
export interface EntryScope {
  readonly namespace: number;
  readonly incarnation: string;
}

/** Entries with whole payloads and results up to the inline limit, and cursors of the consumer's namespace. */
export function shownTo(scope: EntryScope): Shown {
  const cursorOf = ({ entry }: LogRecord) => cursorAt(scope, entry.position);
  return { namespace: scope.namespace, message: { cursorOf }, omitPayloads: false };
}

/** Of records whose details were read. Payloads of events come whole, whatever was delivered of them. */
export async function toEntryLetters(
  runner: Runner,
  { splitKey }: Pick<Selection, 'splitKey'>,
  records: readonly LogRecord[],
  shown: Shown,
): Promise<EntryLetter[]> {
  const large = records.flatMap(({ event }) => (event?.omitted ? [event.id] : []));
  const rows = large.length > 0 ? await readEvents(runner, large, WHOLE_PAYLOADS) : [];
  const whole = new Map(rows.map((row) => [row.id, row]));
  return records.map((record) => {
    const event = whole.get(record.event?.id ?? '') ?? record.event;
    return {
      position: record.entry.position,
      key: recordKey({ splitKey }, record) || null,
      type: record.type,
      flow: record.entry.flow ?? record.detail?.flow ?? null,
      execution: record.entry.execution,
      tags: record.tags,
      event: event?.id ?? null,
      eventId: event?.event_id ?? null,
      eventType: event?.type ?? null,
      input: event?.payload ? { type: event.payload_type ?? '', body: event.payload } : null,
      entry: toBinary(LogEntrySchema, toLogEntry(record, shown)),
    };
  });
}
