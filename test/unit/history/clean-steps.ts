/** Steps of the log in which executions of the sound history move. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { FeedEntry } from '../../support/history/history.js';

const { UNSPECIFIED, QUEUED, RUNNING } = ExecutionState;
const { EXECUTION_CREATED, EXECUTION_CHANGED, ATTEMPT_STARTED, ATTEMPT_ENDED } = LogEntryKind;

export type Step = Omit<FeedEntry, 'position'>;

export const FLOW_MEMBERS = ['source', 'broken', 'after', 'never'];

export const about = (kind: LogEntryKind, execution: string, more: Partial<Step> = {}): Step => ({
  kind,
  execution,
  attempt: 0,
  from: UNSPECIFIED,
  to: UNSPECIFIED,
  letter: '',
  flow: FLOW_MEMBERS.includes(execution) ? 'flow' : '',
  join: '',
  ...more,
});
export const made = (execution: string, to = QUEUED) => about(EXECUTION_CREATED, execution, { to });
export const started = (execution: string, attempt: number) =>
  about(ATTEMPT_STARTED, execution, { attempt, from: QUEUED, to: RUNNING });
export const lost = (execution: string, attempt: number) =>
  about(ATTEMPT_ENDED, execution, { attempt, from: RUNNING, to: QUEUED });
export const ended = (execution: string, attempt: number, kind: LogEntryKind, to: ExecutionState) => [
  about(ATTEMPT_ENDED, execution, { attempt }),
  about(kind, execution, { attempt, from: RUNNING, to }),
];

export const moved = (execution: string, from: ExecutionState, to: ExecutionState) =>
  about(EXECUTION_CHANGED, execution, { from, to });
export const decided = (kind: LogEntryKind, downstream: string) =>
  about(kind, downstream, { join: `join of ${downstream}` });
