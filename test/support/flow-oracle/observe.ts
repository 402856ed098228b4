/** What the log tells of a flow, as observations for the oracle. */
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { type LogEntry, LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { End, Observation } from './oracle.js';

const ENDS: Readonly<Record<string, End>> = {
  [EndReason.UNSPECIFIED]: 'succeeded',
  [EndReason.PERMANENT]: 'failed',
  [EndReason.CANCELED_BY_WORKER]: 'stopped',
  [EndReason.JOIN_IMPOSSIBLE]: 'skipped',
  [EndReason.JOIN_SATISFIED]: 'lost',
  [EndReason.FLOW_CANCELED]: 'canceled',
};

/** In the order of the log. */
export function observationsOf(entries: readonly LogEntry[], nameOf: (id: string) => string): Observation[] {
  return entries.flatMap((entry): Observation[] => {
    const member = nameOf(entry.executionId);
    switch (entry.kind) {
      case LogEntryKind.FLOW_CANCELED:
        return [{ what: 'canceled' }];
      case LogEntryKind.ATTEMPT_STARTED:
        return [{ what: 'started', member }];
      case LogEntryKind.JOIN_SATISFIED:
        return [{ what: 'decided', member, verdict: 'satisfied' }];
      case LogEntryKind.JOIN_IMPOSSIBLE:
        return [{ what: 'decided', member, verdict: 'impossible' }];
      case LogEntryKind.EXECUTION_SUSPENDED:
        return [{ what: 'went back', member }];
      case LogEntryKind.ATTEMPT_ENDED:
        return entry.toState === ExecutionState.UNSPECIFIED ? [] : [{ what: 'went back', member }];
      default:
        return entry.toState >= ExecutionState.SUCCEEDED ? [{ what: 'ended', member, end: endOf(entry) }] : [];
    }
  });
}

function endOf({ body, executionId }: LogEntry): End {
  const reason = body.case === 'outcome' ? body.value.reason : -1;
  const end = ENDS[reason];
  if (end === undefined) throw new Error(`${executionId} ended for a reason the oracle does not know: ${reason}`);
  return end;
}
