/** What a parked execution still waits for. */
import { HoldKind } from '../../../../gen/tailrace/v1/explain_pb.js';
import { SuspensionReason, SuspensionTimeoutBehavior } from '../../../../gen/tailrace/v1/signal_pb.js';
import { CountDistinct, type SignalSelector } from '../../../domain/condition.js';
import { type MissingPart, missingOf, type UntakenSignal } from '../../../domain/condition-progress.js';
import type { ExecutionRow } from '../../../repository/inspection/index.js';
import type { SuspensionObject } from '../../../repository/suspensions/index.js';
import { toTimestamp } from '../../conversion/times.js';
import { type Hold, several } from './hold.js';

/** Parts that are named. */
const NAMED = 5;

/** `signals`: those that nothing has taken. */
export function suspensionHold(row: ExecutionRow, is: SuspensionObject, signals: readonly UntakenSignal[]): Hold {
  const reason = SuspensionReason[is.reason] ?? '';
  const why = is.escalated ? `${reason}, after its time was up` : reason;
  const due = dueTime(is);
  const timeout = due === null ? '' : ` Its time is up at ${due.toISOString()}; then it ${atTimeout(is)}.`;
  return {
    kind: HoldKind.SUSPENSION,
    subject: String(is.number),
    message: `It is parked (${why}) and ${awaited(row, is, signals)}.${timeout}`,
    ...(due && { untilTime: toTimestamp(due) }),
  };
}

/** When its time is up, while that is still to come. */
export function dueTime({ timeout_at, escalated }: SuspensionObject): Date | null {
  return timeout_at === null || escalated ? null : new Date(timeout_at);
}

function awaited(
  { budget_name: budget }: ExecutionRow,
  is: SuspensionObject,
  signals: readonly UntakenSignal[],
): string {
  if (budget !== null) return `goes on once budget ${budget} has room for what it asked for, or by an operator's word`;
  if (is.escalated) return "waits for an operator's word";
  return `waits for ${several(missingOf(is.condition, signals).map(told), NAMED)}`;
}

function told(part: MissingPart): string {
  switch (part.kind) {
    case 'signal':
      return selected(part);
    case 'count': {
      const among = part.among.length === 0 ? 'any signals' : several(part.among.map(selected), NAMED);
      return `${part.count} distinct ${DISTINCT[part.distinct] ?? 'signals'} among ${among} (${part.have} so far)`;
    }
    case 'operator_only':
      return "an operator's word";
    case 'timeout_only':
      return 'its time to be up';
  }
}

const DISTINCT: Readonly<Record<number, string>> = {
  [CountDistinct.SIGNALS]: 'signals',
  [CountDistinct.WAITPOINTS]: 'waitpoints',
  [CountDistinct.SOURCES]: 'sources',
};

function selected({ name, waitpoint }: SignalSelector): string {
  const signal = name === '' ? 'any signal' : `signal ${name}`;
  return waitpoint === '' ? signal : `${signal} at waitpoint ${waitpoint}`;
}

function atTimeout({ behavior }: SuspensionObject): string {
  switch (behavior) {
    case SuspensionTimeoutBehavior.CANCEL:
      return 'is canceled';
    case SuspensionTimeoutBehavior.EXPIRE:
      return 'expires';
    case SuspensionTimeoutBehavior.RESUME:
      return 'goes on';
    case SuspensionTimeoutBehavior.ESCALATE:
      return 'waits for an operator';
    default:
      return 'fails';
  }
}
