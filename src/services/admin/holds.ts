/**
 * What keeps an execution where it is, weightiest first, and what would move it. Pure: everything was read before.
 */
import type { MessageInitShape } from '@bufbuild/protobuf';
import { EndReason } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { HoldKind, type HoldSchema, type NextTimerSchema, TimerKind } from '../../../gen/tailrace/v1/explain_pb.js';
import { JoinMode, OnJoinTimeout } from '../../../gen/tailrace/v1/join_pb.js';
import { ExecutionState, isTerminal, LaneState, stateName } from '../../domain/states.js';
import type { WaitRow } from '../../repository/flows/index.js';
import { AHEAD_COUNTED, type ExecutionRow, type Surroundings } from '../../repository/inspection/index.js';
import { toTimestamp } from '../conversion/times.js';

export type Hold = MessageInitShape<typeof HoldSchema> & { readonly message: string };

/** `wait`: the join it waits for, if it does. */
export function holdsOf(row: ExecutionRow, around: Surroundings, wait?: WaitRow): Hold[] {
  if (isTerminal(row.state)) return [terminalHold(row)];
  if (row.state === ExecutionState.RUNNING) return [leaseHold(row)];
  const joins = wait ? [joinHold(row, wait)] : [];
  const scheduled: Hold[] = row.run_at ? [runTimeHold(row, row.run_at)] : [];
  const obstacles = [...laneHolds(row, around), ...workerHolds(row, around)];
  if (row.state === ExecutionState.QUEUED && obstacles.length === 0) return [inLineHold(row, around)];
  return [...joins, ...scheduled, ...obstacles];
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

function joinHold(row: ExecutionRow, wait: WaitRow): Hold {
  const ofChildren = row.state === ExecutionState.WAITING_CHILDREN;
  const slots = ofChildren ? 'children' : 'slots';
  const filled = `${wait.filled} of ${wait.slots} ${slots} ${ofChildren ? 'have ended' : 'are filled'}`;
  const missing = wait.missing.map(
    ({ name, upstream, state }) => `${name} (${upstream}, ${state === null ? 'gone' : stateName(state)})`,
  );
  const more = wait.slots - wait.filled - missing.length;
  const named = more > 0 ? [...missing, `${more} more`] : missing;
  const open = wait.sealed ? '' : ' Slots may still be added.';
  const expires = wait.expires_at
    ? ` Its time is up at ${wait.expires_at.toISOString()}; then it ${atTimeout(wait)}.`
    : '';
  return {
    kind: ofChildren ? HoldKind.CHILDREN : HoldKind.JOIN,
    subject: wait.id,
    message:
      `It waits for ${wanted(wait, ofChildren ? 'children' : 'upstreams')}: ${filled}` +
      `${named.length > 0 ? `; missing: ${named.join(', ')}` : ''}.${open}${expires}`,
    ...(wait.expires_at && { untilTime: toTimestamp(wait.expires_at) }),
  };
}

function wanted({ mode, quorum, distinct_sources: distinct }: WaitRow, what: string): string {
  if (mode === JoinMode.ALL) return `all of its ${what}`;
  const source = distinct ? ' of distinct sources' : '';
  return mode === JoinMode.ANY ? `one success of its ${what}` : `${quorum} successes${source} of its ${what}`;
}

function atTimeout(wait: WaitRow): string {
  return wait.on_timeout === OnJoinTimeout.RELEASE_PARTIAL ? 'goes on with those that are there' : 'fails';
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
