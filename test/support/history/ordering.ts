/** What a history proves about ordering keys: one at a time, each where it belongs in line, and none past a dead head. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { isTerminal } from './executions.js';
import { wholeFeed } from './feeds.js';
import { groupBy } from './grouping.js';
import type { Created, FeedEntry, FinalExecution, History, Timed } from './history.js';

/** Positions in the log; infinite for what has not happened. */
interface Course {
  readonly run: FinalExecution;
  readonly made: number;
  readonly started: number;
  readonly ended: number;
  /** It stood in line only when its join let it. */
  readonly joined: boolean;
  /** The call that made it; absent if it was not recorded. */
  readonly call: Timed | undefined;
  /** Of the event that it reacts to. */
  readonly caused: number | undefined;
  /** From when to when its letter stopped those behind it. */
  readonly blocked: readonly [number, number] | undefined;
}

export function keysKeepOrder(history: History): string[] {
  const whole = wholeFeed(history);
  if (whole === undefined) return [];
  const ordered = history.final.executions.filter(({ ordering }) => ordering !== undefined);
  if (ordered.length === 0) return [];
  const entries = groupBy(whole, ({ execution }) => execution);
  const letters = groupBy(whole, ({ letter }) => letter);
  const positions = new Map(
    history.final.events.map(({ namespace, id, position }) => [`${namespace}/${id}`, position]),
  );
  const calls = creationsOf(history);
  const courses = ordered.map((run) => {
    const own = entries.get(run.execution) ?? [];
    return { ...courseOf(run, own, letters, positions), call: calls.get(run.execution) };
  });
  const isPlain = plainIn(history);
  return [...groupBy(courses, ({ run }) => `key ${run.ordering?.key} of ${run.lane} in ${run.namespace}`)].flatMap(
    ([key, line]) => [...overtaken(key, line), ...madeWrong(key, line.filter(isPlain))],
  );
}

function courseOf(
  run: FinalExecution,
  entries: readonly FeedEntry[],
  letters: ReadonlyMap<string, readonly FeedEntry[]>,
  positions: ReadonlyMap<string, bigint>,
): Omit<Course, 'call'> {
  const first = (fits: (entry: FeedEntry) => boolean, among = entries) =>
    Number(among.find(fits)?.position ?? Number.POSITIVE_INFINITY);
  const of = (kind: LogEntryKind) => (entry: FeedEntry) => entry.kind === kind;
  const started = first(of(LogEntryKind.ATTEMPT_STARTED));
  const ended = first(({ to }) => isTerminal(to));
  const died = run.state === ExecutionState.FAILED || run.state === ExecutionState.EXPIRED;
  const caused = positions.get(`${run.namespace}/${run.reaction?.event}`);
  const stops = run.ordering?.blocks && died && run.letter !== '' && Number.isFinite(started);
  const closed = stops ? first(of(LogEntryKind.DEAD_LETTER_CLOSED), letters.get(run.letter) ?? []) : 0;
  return {
    ...{ run, started, ended },
    made: first(of(LogEntryKind.EXECUTION_CREATED)),
    joined: Math.min(first(of(LogEntryKind.JOIN_SATISFIED)), first(of(LogEntryKind.JOIN_EXPIRED))) < started,
    caused: caused === undefined ? undefined : Number(caused),
    blocked: stops ? [ended, closed] : undefined,
  };
}

function overtaken(key: string, line: readonly Course[]): string[] {
  const begun = line.filter(({ started }) => Number.isFinite(started)).sort((a, b) => a.started - b.started);
  return begun.flatMap((course, i) => {
    const { execution } = course.run;
    const found: string[] = [];
    for (const before of begun.slice(0, i)) {
      const other = before.run.execution;
      if (before.ended > course.started) found.push(`${key}: ${execution} began before ${other} had ended`);
      if (wasThereFirst(course, before)) found.push(`${key}: ${other} ran before ${execution}, which was there first`);
      const [from, to] = before.blocked ?? [0, 0];
      const isRedrive = course.run.redriveOf !== '';
      if (course.started > from && course.started < to && !isRedrive) {
        found.push(`${key}: ${execution} began though ${other} had died and stood in the way`);
      }
    }
    return found;
  });
}

/**
 * Whether one comes before the other in line. Subscriptions are routed apart from each other, and of what is made at the same
 * time either comes first, whatever the log says: only what the log tells before the other's event was there for certain. Nor
 * does it say more of calls that overlap, or of when one came into line that waited for a join.
 */
function wasThereFirst(one: Course, other: Course): boolean {
  // A redrive takes the place of what it is made from.
  if (one.run.redriveOf !== '' || other.run.redriveOf !== '') return false;
  if (one.joined) return false;
  const areCalled = one.run.reaction === undefined && other.run.reaction === undefined;
  if (areCalled) return one.made < other.made && cameFirst(one.call, other.call);
  const areOfOne = one.run.reaction?.subscription === other.run.reaction?.subscription;
  return one.made < (areOfOne ? other.made : (other.caused ?? 0));
}

/** Whether one call was over before the other began, or is the same. */
function cameFirst(one: Timed | undefined, other: Timed | undefined): boolean {
  if (one === undefined || other === undefined || other.began < 0) return false;
  return one.began === other.began || one.answered < other.began;
}

/** Of executions the calls that made them: from when they may have been there, to when they were. */
function creationsOf({ events }: History): Map<string, Timed> {
  const told = groupBy(
    events.filter((event): event is Created => event.event === 'created'),
    ({ execution }) => execution,
  );
  const calls = new Map<string, Timed>();
  for (const [execution, answers] of told) {
    // Without one that made it, that answer was lost: it may have been there at any time.
    const began = answers.find(({ duplicate }) => !duplicate)?.began ?? -1;
    calls.set(execution, { began, answered: Math.min(...answers.map(({ answered }) => answered)) });
  }
  return calls;
}

/**
 * Whether its subscription reacts in the order of the events: not to what had too many hops before a person sent it on, nor when
 * it was made anew, which may go through the past once more.
 */
function plainIn({ events, final }: History): (course: Course) => boolean {
  const stopped = new Set(final.eventLetters.map(({ namespace, event }) => `${namespace}/${event}`));
  const deleted = new Set(
    events.flatMap((event) =>
      event.event === 'subscribed' && !event.spec ? [`${event.namespace}/${event.name}`] : [],
    ),
  );
  return ({ run: { namespace, reaction } }) =>
    !stopped.has(`${namespace}/${reaction?.event}`) && !deleted.has(`${namespace}/${reaction?.subscription}`);
}

/** Of one subscription, in the order of the events. */
function madeWrong(key: string, line: readonly Course[]): string[] {
  const reactions = line.filter(({ caused, run }) => caused !== undefined && run.redriveOf === '');
  return [...groupBy(reactions, ({ run }) => run.reaction?.subscription ?? '')].flatMap(([, made]) => {
    const inOrder = made.toSorted((a, b) => a.made - b.made);
    return inOrder.flatMap((course, i) => {
      const before = inOrder[i - 1];
      const isSooner = before !== undefined && (before.caused ?? 0) > (course.caused ?? 0);
      return isSooner
        ? [`${key}: ${before.run.execution} was made before ${course.run.execution}, of an earlier event`]
        : [];
    });
  });
}
