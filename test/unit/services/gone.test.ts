/** What entries of the log tell when retention has taken what they speak of. */
import { expect, test } from 'vitest';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { LogRecord } from '../../../src/log/record.js';
import { toCompletionEntry, toLogEntry } from '../../../src/services/completion/entries.js';

const ID = '00000000-0000-7000-8000-00000000000a';
const shown = { namespace: 1, message: { cursorOf: () => 'here' }, omitPayloads: false };

function record(kind: number, more: Partial<ConstructorParameters<typeof LogRecord>[0]> = {}): LogRecord {
  const none = { class: null, from: null, to: null, attempt: null, body: null, execution: null };
  const entry = { position: 1n, seq: 1n, at: new Date(0), namespace: 1, kind, flow: ID, ...none, ...more };
  return new LogRecord(entry, 'default', 'lane', 'type');
}

test('an event that is gone is told without what only it knew', () => {
  const body = JSON.stringify({ event: ID });
  const told = toLogEntry(record(LogEntryKind.EVENT_PUBLISHED, { body }), shown);
  expect(told).toMatchObject({
    subject: ID,
    flowId: ID,
    body: { case: 'event', value: { eventId: ID, type: '', payload: undefined, payloadOmitted: true, cursor: 'here' } },
  });
});

test('an end whose execution is gone still says how it ended, and that a result is left out', () => {
  const ended = record(LogEntryKind.EXECUTION_SUCCEEDED, { execution: ID, to: 7, attempt: 2 });
  const outcome = { state: 7, attemptNumber: 2, resultOmitted: true };
  expect(toLogEntry(ended, shown).body).toMatchObject({ case: 'outcome', value: outcome });
  expect(toCompletionEntry(ended, shown)).toMatchObject({ executionId: ID, flowId: ID, outcome, tags: {} });
  const failed = record(LogEntryKind.EXECUTION_FAILED, { execution: ID, to: 8, attempt: 1 });
  expect(toCompletionEntry(failed, shown).outcome).toMatchObject({ state: 8, resultOmitted: false });
});
