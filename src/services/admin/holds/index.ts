/**
 * What keeps an execution where it is, weightiest first, and what would move it. Pure: everything was read before.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { EndReason } from '../../../../gen/tailrace/v1/execution_state_pb.js';
import { HoldKind, type NextTimerSchema, TimerKind } from '../../../../gen/tailrace/v1/explain_pb.js';
import type { UntakenSignal } from '../../../domain/condition-progress.js';
import { ExecutionState, isTerminal, LaneState, stateName } from '../../../domain/states.js';
import type { SpentDimension } from '../../../repository/budgets/index.js';
import type { WaitRow } from '../../../repository/flows/index.js';
import {
  AHEAD_COUNTED,
  type ExecutionRow,
  type OrderAhead,
  type Surroundings,
} from '../../../repository/inspection/index.js';
import type { KeyUse, QuotaRow } from '../../../repository/quotas/index.js';
import { toTimestamp } from '../../conversion/times.js';
import { budgetHolds } from './budgets.js';
import type { Hold } from './hold.js';
import { joinHold } from './join.js';
import { keyHold, quotaHolds } from './limits.js';
import { orderHolds } from './order.js';
import { dueTime, suspensionHold } from './suspension.js';

/** What was read of all that may hold an execution; of what cannot concern it, nothing. */
export interface Facts {
  readonly around: Surroundings;
  /** The join it waits for. */
  readonly wait: WaitRow | undefined;
  /** The concurrency key it waits for. */
  readonly key: KeyUse | undefined;
  /** What is before it, while it waits for its ordering key. */
  readonly order: OrderAhead | undefined;
  /** Of its lane and its namespace. */
  readonly quotas: readonly QuotaRow[];
  /** Of those that bound it. */
  readonly spent: readonly SpentDimension[];
  /** That nothing has taken, while it is parked. */
  readonly signals: readonly UntakenSignal[];
}

export function holdsOf(row: ExecutionRow, facts: Facts): Hold[] {
  if (isTerminal(row.state)) return [terminalHold(row)];
  const budgets = budgetHolds(row, facts.spent);
  switch (row.state) {
    case ExecutionState.RUNNING:
      return [leaseHold(row)];
    case ExecutionState.SUSPENDED:
      return [...(row.suspension ? [suspensionHold(row, row.suspension, facts.signals)] : []), ...budgets];
    default: {
      const { around, wait, key, order } = facts;
      const waits = [
        ...(wait ? [joinHold(row, wait)] : []),
        ...(key ? [keyHold(row, key)] : []),
        ...(order ? orderHolds(row, order) : []),
      ];
      const scheduled = row.run_at ? [runTimeHold(row, row.run_at)] : [];
      const inLine = row.state === ExecutionState.QUEUED;
      const limits = inLine ? quotaHolds(row, facts.quotas) : [];
      const obstacles = [...budgets, ...laneHolds(row, around), ...limits, ...workerHolds(row, around)];
      if (inLine && obstacles.length === 0) return [inLineHold(row, around)];
      return [...waits, ...scheduled, ...obstacles];
    }
  }
}

/** The earliest of everything that time may do to it. */
export function nextTimerOf(row: ExecutionRow, wait?: WaitRow): MessageInitShape<typeof NextTimerSchema> | undefined {
  if (isTerminal(row.state)) return undefined;
  const waitsForFirst = row.attempt === 0;
  const timers: readonly (readonly [TimerKind, Date | null])[] = [
    [TimerKind.RUN_TIME, row.state === ExecutionState.SCHEDULED ? row.run_at : null],
    [TimerKind.TTL, waitsForFirst ? row.start_by : null],
    [TimerKind.DEADLINE, row.deadline],
    [TimerKind.LEASE, row.expires_at],
    [TimerKind.ATTEMPT_TIMEOUT, row.timeout_at],
    [TimerKind.CANCEL_GRACE, row.cancel_until],
    [TimerKind.START_WITHIN, row.begin_by],
    [TimerKind.SUSPENSION, row.suspension && dueTime(row.suspension)],
    [TimerKind.JOIN, wait?.expires_at ?? null],
  ];
  const [first] = timers
    .flatMap(([kind, at]) => (at === null ? [] : [{ kind, at }]))
    .sort((a, b) => a.at.getTime() - b.at.getTime());
  return first && { kind: first.kind, fireTime: toTimestamp(first.at) };
}

function terminalHold(row: ExecutionRow): Hold {
  const why = row.reason === null ? '' : ` (${EndReason[row.reason] ?? row.reason})`;
  const letter = row.dead_letter === null ? '' : `; a redrive of dead letter ${row.dead_letter} would run it again`;
  const text = row.message ? `: ${row.message}` : '';
  return {
    kind: HoldKind.TERMINAL,
    subject: row.dead_letter ?? '',
    message: `It has ended ${stateName(row.state)}${why}${text}${letter}.`,
  };
}

function leaseHold(row: ExecutionRow): Hold {
  const canceling = row.cancel_until
    ? ` It was asked to stop and is ended at ${row.cancel_until.toISOString()} if it has not by then.`
    : '';
  return {
    kind: HoldKind.LEASE,
    subject: row.worker ?? '',
    message:
      `Worker ${row.worker_name} holds attempt ${row.attempt}; when it ends it, or its lease runs out without being ` +
      `renewed, the execution goes on.${canceling}`,
    ...(row.expires_at && { untilTime: toTimestamp(row.expires_at) }),
  };
}

function runTimeHold(row: ExecutionRow, until: Date): Hold {
  const why =
    row.last_failed !== null && row.last_failed === row.attempt
      ? `It backs off after attempt ${row.last_failed} failed (${row.failures} counted)`
      : 'Its run time lies ahead';
  return {
    kind: HoldKind.RUN_TIME,
    message: `${why}; it becomes claimable at ${until.toISOString()}.`,
    untilTime: toTimestamp(until),
  };
}

function laneHolds(row: ExecutionRow, around: Surroundings): Hold[] {
  if (around.lane_state !== LaneState.PAUSED) return [];
  const why = around.lane_reason === '' ? '' : ` (${around.lane_reason})`;
  return [
    {
      kind: HoldKind.LANE_PAUSED,
      subject: row.lane,
      message: `Lane ${row.lane} is paused${why} and hands out nothing until it is resumed.`,
    },
  ];
}

/** Who does not register is not counted: a worker is known once it claims or sends a heartbeat. */
function workerHolds(row: ExecutionRow, around: Surroundings): Hold[] {
  if (around.in_lane === 0) {
    const message = `No worker that was seen lately claims from lane ${row.lane}.`;
    return [{ kind: HoldKind.NO_WORKER, subject: row.lane, message }];
  }
  if (around.handling === 0) {
    const message = `None of the ${around.in_lane} workers on lane ${row.lane} handles type ${row.type}.`;
    return [{ kind: HoldKind.NO_HANDLER, subject: row.type, message }];
  }
  if (around.eligible > 0) return [];
  if (around.missing.length === 0) {
    const message = `None of the ${around.handling} workers for type ${row.type} offers all that it requires.`;
    return [{ kind: HoldKind.CAPABILITY, subject: row.capabilities.join(','), message }];
  }
  return around.missing.map((subject) => ({
    kind: HoldKind.CAPABILITY,
    subject,
    message: `None of the ${around.handling} workers for type ${row.type} offers ${subject}.`,
  }));
}

function inLineHold(row: ExecutionRow, around: Surroundings): Hold {
  const ahead = around.ahead > AHEAD_COUNTED ? `more than ${AHEAD_COUNTED}` : String(around.ahead);
  return {
    kind: HoldKind.IN_LINE,
    subject: row.lane,
    message: `It is claimable and has ${ahead} ahead in lane ${row.lane}; ${around.eligible === 1 ? '1 worker' : `${around.eligible} workers`} could take it.`,
  };
}
