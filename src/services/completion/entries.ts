/**
 * Log records in the words of the contract. A record that goes to a hundred watchers is converted once.
 */
import { create, type JsonObject } from '@bufbuild/protobuf';
import { type Attempt, AttemptSchema } from '../../../gen/tailrace/v1/attempt_pb.js';
import { OutcomeSchema } from '../../../gen/tailrace/v1/execution_pb.js';
import { type CompletionEntry, type LogEntry, LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { ExecutionState } from '../../domain/states.js';
import type { LogRecord } from '../../log/record.js';
import type { WatchMessage } from '../../log/watcher.js';
import type { EventRow } from '../../repository/events/index.js';
import { toEvent } from '../conversion/event.js';
import { toTimestamp } from '../conversion/times.js';
import { toOutcome } from './outcome.js';

export interface Shown {
  /** The watch's namespace, on which its cursors depend. */
  readonly namespace: number;
  /** The message the record came in, or whatever else knows its cursor. */
  readonly message: Pick<WatchMessage, 'cursorOf'>;
  readonly omitPayloads: boolean;
}

/** Remembers what `convert` made of a record, per namespace watched and choice of payloads. */
export function remembering<T>(convert: (record: LogRecord, shown: Shown) => T) {
  return (record: LogRecord, shown: Shown): T => {
    const key = shown.namespace * 2 + (shown.omitPayloads ? 1 : 0);
    const known = record.formOf(convert, key);
    if (known !== undefined) return known as T;
    const form = convert(record, shown);
    record.keepForm(convert, key, form);
    return form;
  };
}

export function toCompletionEntry(record: LogRecord, { message, omitPayloads }: Shown): CompletionEntry {
  const { detail, entry } = record;
  const startedAt = detail?.outcome?.startedAt;
  // What create() would make, at a fraction of its cost.
  return {
    $typeName: 'tailrace.v1.CompletionEntry',
    cursor: message.cursorOf(record),
    namespace: record.namespace,
    executionId: entry.execution ?? '',
    flowId: detail?.flow ?? entry.flow ?? '',
    lane: record.lane,
    type: record.type,
    tags: { ...detail?.tags },
    outcome: outcomeOf(record, omitPayloads),
    redriveOfExecutionId: detail?.redriveOf ?? '',
    createTime: toTimestamp(detail?.createdAt),
    startTime: toTimestamp(startedAt),
  };
}

export function toLogEntry(record: LogRecord, shown: Shown): LogEntry {
  const { detail, entry } = record;
  const said = parse(entry.body);
  if (record.flow) said['name'] = record.flow.name;
  // What create() would make, at a fraction of its cost: consumers are handed thousands at once.
  return {
    $typeName: 'tailrace.v1.LogEntry',
    cursor: shown.message.cursorOf(record),
    kind: entry.kind,
    namespace: record.namespace,
    createTime: toTimestamp(entry.at),
    executionId: entry.execution ?? '',
    flowId: entry.flow ?? detail?.flow ?? '',
    lane: record.lane,
    type: record.type,
    tags: { ...record.tags },
    attemptNumber: entry.attempt ?? 0,
    fromState: entry.from ?? 0,
    toState: entry.to ?? 0,
    subject: subjectOf(record, said),
    actor: words(said['actor']) || words(said['worker']),
    reason: words(said['reason']),
    body: record.ofEvent ? eventOf(record, shown) : bodyOf(record, said, shown.omitPayloads),
  };
}

/** By the id that it is known by; when retention has taken an event, by that of the engine. */
function subjectOf({ event }: LogRecord, said: JsonObject): string {
  const found = ['letter', 'join', 'subject', 'event'].map((key) => words(said[key])).find((word) => word !== '');
  return event?.event_id ?? found ?? '';
}

type Body = LogEntry['body'];

function eventOf(record: LogRecord, { message, omitPayloads }: Shown): Body {
  const event = record.event ?? eventGone(record);
  const contents = omitPayloads && event.payload !== null ? { payload: null, omitted: true } : {};
  const row = { ...event, ...contents, position: record.entry.position };
  return { case: 'event', value: toEvent(row, () => message.cursorOf(record)) };
}

/** When retention has taken an event before the entry that tells of it: what the entry says. */
function eventGone({ entry, eventId = '', namespace }: LogRecord): EventRow {
  return {
    id: eventId,
    namespace,
    event_id: eventId,
    type: '',
    stream: null,
    version: null,
    flow: entry.flow ?? '',
    cause: null,
    cause_execution: entry.execution,
    hops: 0,
    batch: null,
    batch_index: null,
    batch_size: null,
    schema_version: 0,
    tags: {},
    headers: {},
    occurred_at: null,
    published_at: entry.at,
    payload_type: null,
    payload: null,
    omitted: true,
    position: null,
  };
}

function bodyOf(record: LogRecord, said: JsonObject, omitPayloads: boolean): Body {
  if (record.terminal) return { case: 'outcome', value: outcomeOf(record, omitPayloads) };
  const { kind } = record.entry;
  if (kind === LogEntryKind.ATTEMPT_STARTED || kind === LogEntryKind.ATTEMPT_ENDED) {
    return { case: 'attempt', value: attemptOf(record, said) };
  }
  return Object.keys(said).length > 0 ? { case: 'details', value: said } : { case: undefined };
}

/** When retention has taken the execution, the entry itself still says how it ended; a result there was is left out. */
function outcomeOf(record: LogRecord, omitResult: boolean) {
  const { detail, entry } = record;
  if (detail?.outcome) return toOutcome(detail.outcome, omitResult);
  return create(OutcomeSchema, {
    state: entry.to ?? 0,
    reason: number(parse(entry.body)['reason']),
    endTime: toTimestamp(entry.at),
    attemptNumber: entry.attempt ?? 0,
    resultOmitted: entry.to === ExecutionState.SUCCEEDED,
  });
}

/** What the entry tells of the attempt; ListAttempts tells all. */
function attemptOf(record: LogRecord, said: JsonObject): Attempt {
  const { detail, entry } = record;
  const time = toTimestamp(entry.at);
  const failureClass = number(said['failure_class']);
  const retryAt = words(said['run_at']);
  return create(AttemptSchema, {
    executionId: entry.execution ?? '',
    attemptNumber: entry.attempt ?? 0,
    namespace: record.namespace,
    lane: record.lane,
    type: record.type,
    flowId: detail?.flow ?? entry.flow ?? '',
    outcome: number(said['outcome']),
    worker: { name: words(said['worker']) },
    ...(entry.kind === LogEntryKind.ATTEMPT_STARTED ? { startTime: time } : { endTime: time }),
    ...(failureClass > 0 && { failure: { failureClass, message: words(said['message']) } }),
    ...(retryAt && { retryTime: toTimestamp(new Date(retryAt)) }),
  });
}

function parse(body: string | null): JsonObject {
  return body === null ? {} : (JSON.parse(body) as JsonObject);
}

function words(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function number(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
