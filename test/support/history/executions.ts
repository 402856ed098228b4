/** What a history proves about executions: none is lost, each ends once, each moves as the state machine says. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { wholeFeed } from './feeds.js';
import type { FeedEntry, History } from './history.js';

const { BLOCKED, SCHEDULED, QUEUED, RUNNING, SUSPENDED, WAITING_CHILDREN } = ExecutionState;
const { SUCCEEDED, FAILED, CANCELED, EXPIRED, SKIPPED } = ExecutionState;

/** Every move the engine may make, as the design's transition table has it. */
const MOVES: ReadonlyMap<ExecutionState, readonly ExecutionState[]> = new Map([
  [BLOCKED, [BLOCKED, SCHEDULED, QUEUED, FAILED, CANCELED, EXPIRED, SKIPPED]],
  // Back to BLOCKED: it was given an edge before it had started, or there is no room for its key, or no budget.
  [SCHEDULED, [BLOCKED, SCHEDULED, QUEUED, CANCELED, EXPIRED]],
  [QUEUED, [BLOCKED, QUEUED, SCHEDULED, RUNNING, CANCELED, EXPIRED]],
  [RUNNING, [BLOCKED, QUEUED, SCHEDULED, SUSPENDED, WAITING_CHILDREN, SUCCEEDED, FAILED, CANCELED, EXPIRED]],
  // To itself: an operator must look at it.
  [SUSPENDED, [BLOCKED, QUEUED, SCHEDULED, SUSPENDED, FAILED, CANCELED, EXPIRED]],
  [WAITING_CHILDREN, [BLOCKED, QUEUED, FAILED, CANCELED, EXPIRED]],
]);

/** Whatever a call acknowledged is still there, or was retired; and whatever is there was created. */
export function nothingIsLost(history: History): string[] {
  const known = new Set([...history.final.executions.map(({ execution }) => execution), ...history.final.retired]);
  const found = history.events.flatMap((event) =>
    event.event === 'created' && !known.has(event.execution) ? [`${event.execution} was created and is gone`] : [],
  );
  const claimedGhosts = history.events.flatMap((event) =>
    event.event === 'claimed' && !known.has(event.execution) ? [`${event.execution} was claimed and is gone`] : [],
  );
  return [...found, ...claimedGhosts];
}

/** The feed tells of one end at most, nothing happens after it, and the final state is that end. */
export function executionsEndOnce(history: History): string[] {
  const found: string[] = [];
  const ends = new Map<string, FeedEntry>();
  for (const entry of wholeFeed(history) ?? []) {
    const end = ends.get(entry.execution);
    if (entry.execution !== '' && end && entry.to !== ExecutionState.UNSPECIFIED) {
      found.push(`${entry.execution}: ${ExecutionState[entry.to]} follows its end ${ExecutionState[end.to]}`);
    }
    if (isTerminal(entry.to)) ends.set(entry.execution, entry);
  }
  if (wholeFeed(history) === undefined) return found;
  for (const { execution, state } of history.final.executions) {
    const told = ends.get(execution)?.to;
    if (isTerminal(state) ? told !== state : told !== undefined) {
      found.push(`${execution} is ${ExecutionState[state]}; the feed tells ${told ? ExecutionState[told] : 'no end'}`);
    }
  }
  return found;
}

/** Each entry goes on from the state that the one before it led to, by a move the state machine has. */
export function statesFollow(history: History): string[] {
  const found: string[] = [];
  const states = new Map<string, ExecutionState>();
  for (const { execution, kind, from, to } of wholeFeed(history) ?? []) {
    if (execution === '' || to === ExecutionState.UNSPECIFIED) continue;
    const before = states.get(execution);
    const step = `${execution}: ${LogEntryKind[kind]} from ${ExecutionState[from]} to ${ExecutionState[to]}`;
    if (kind === LogEntryKind.EXECUTION_CREATED) {
      if (before !== undefined) found.push(`${step}, though it exists`);
      if (to !== BLOCKED && to !== SCHEDULED && to !== QUEUED) found.push(step);
    } else if (before !== from) {
      found.push(`${step}, though it is ${before === undefined ? 'not created' : ExecutionState[before]}`);
    } else if (!MOVES.get(from)?.includes(to)) {
      found.push(step);
    }
    states.set(execution, to);
  }
  if (wholeFeed(history) === undefined) return found;
  for (const { execution, state } of history.final.executions) {
    const told = states.get(execution);
    if (told !== state) {
      found.push(
        `${execution} is ${ExecutionState[state]}; the feed leaves it ${told ? ExecutionState[told] : 'unmade'}`,
      );
    }
  }
  return found;
}

/** created = live + terminal + retired, counted from the feed and from the final states. */
export function createdIsConserved(history: History): string[] {
  const { executions, retired } = history.final;
  const there = [...executions.map(({ execution }) => execution), ...retired];
  const distinct = new Set(there);
  if (distinct.size < there.length) return [`${there.length - distinct.size} executions stand in two states at once`];
  const acknowledged = new Set(history.events.flatMap((event) => (event.event === 'created' ? [event.execution] : [])));
  const whole = wholeFeed(history);
  const made = whole?.filter(({ kind }) => kind === LogEntryKind.EXECUTION_CREATED).map(({ execution }) => execution);
  const terminal = executions.filter(({ state }) => isTerminal(state)).length;
  const sum = `${executions.length - terminal} live + ${terminal} terminal + ${retired.length} retired`;
  if (made && made.length !== distinct.size) return [`${made.length} were created, not ${sum}`];
  if (made) {
    const told = new Set(made);
    const untold = [...acknowledged].filter((execution) => !told.has(execution));
    return untold.map((execution) => `the feed does not tell that ${execution} was created`);
  }
  // Without a whole feed, creations whose answers were lost may be there too.
  return acknowledged.size > distinct.size ? [`${acknowledged.size} were created, not ${sum}`] : [];
}

export function isTerminal(state: ExecutionState): boolean {
  return state >= SUCCEEDED;
}
