/** An entry of the log as one line for people. */

import { timestampMs } from '@bufbuild/protobuf/wkt';
import { EndReasonSchema, ExecutionStateSchema } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type LogEntry, LogEntryKindSchema } from '../../../gen/tailrace/v1/log_pb.js';
import { nameOf } from '../enum-words.js';
import { type Output, plain } from '../output.js';
import { timeText } from '../spans.js';
import { colored } from '../table.js';

/** Lines that stay on the screen tell the time of day, not how long ago it was. */
export function entryLine(entry: LogEntry, output: Output): string {
  const {
    createTime,
    kind,
    type,
    lane,
    executionId,
    flowId,
    attemptNumber,
    fromState,
    toState,
    subject,
    actor,
    reason,
  } = entry;
  const state = colored(nameOf(ExecutionStateSchema, toState), output);
  const from = nameOf(ExecutionStateSchema, fromState);
  const parts = [
    output.style('dim', createTime ? timeText(timestampMs(createTime)) : ''),
    nameOf(LogEntryKindSchema, kind),
    plain(type),
    executionId || plain(subject),
    toState !== fromState && state ? (from ? `${from}→${state}` : state) : '',
    attemptNumber > 0 ? `attempt ${attemptNumber}` : '',
    lane && `lane=${plain(lane)}`,
    flowId && `flow=${flowId}`,
    executionId && subject && subject !== executionId ? `subject=${plain(subject)}` : '',
    endOf(entry),
    actor && `by ${plain(actor)}`,
    reason && `(${plain(reason)})`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

function endOf({ body }: LogEntry): string {
  if (body.case === 'outcome') {
    const { reason, failure } = body.value;
    return [nameOf(EndReasonSchema, reason), plain(failure?.message ?? '')].filter((part) => part !== '').join(': ');
  }
  if (body.case === 'event') return body.value.stream ? `stream=${plain(body.value.stream)}` : '';
  return '';
}
