/** What a history proves about joins: each decides at most once, from slots that were filled, and nothing overtakes it. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { JoinKind, JoinState, SlotOutcome } from '../../../gen/tailrace/v1/join_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { isTerminal } from './executions.js';
import { wholeFeed } from './feeds.js';
import { groupBy } from './grouping.js';
import type { FeedEntry, History } from './history.js';

const { BLOCKED, SCHEDULED, QUEUED, RUNNING, WAITING_CHILDREN, SUCCEEDED, SKIPPED } = ExecutionState;
const { JOIN_SATISFIED, JOIN_IMPOSSIBLE, JOIN_EXPIRED } = LogEntryKind;

/** What the feed tells of a join that stands so. */
const TOLD: ReadonlyMap<JoinState, LogEntryKind> = new Map([
  [JoinState.SATISFIED, JOIN_SATISFIED],
  [JoinState.IMPOSSIBLE, JOIN_IMPOSSIBLE],
  [JoinState.EXPIRED, JOIN_EXPIRED],
]);

/** The feed tells of one decision at most, and the join stands as it was told. */
export function joinsFireOnce(history: History): string[] {
  const whole = wholeFeed(history);
  if (whole === undefined) return [];
  const found: string[] = [];
  const decisions = groupBy(whole.filter(isDecision), ({ join }) => join);
  for (const [join, entries] of decisions) {
    if (entries.length > 1) found.push(`join ${join} decided ${entries.length} times`);
  }
  for (const { join, downstream, state, slots, filled } of history.final.joins) {
    const told = decisions.get(join)?.[0];
    if (told?.kind !== TOLD.get(state)) {
      found.push(`join ${join} is ${JoinState[state]}; the feed tells ${told ? LogEntryKind[told.kind] : 'nothing'}`);
    }
    if (told && told.execution !== downstream) found.push(`join ${join} of ${downstream} released ${told.execution}`);
    if (filled > slots) found.push(`join ${join} has ${slots} slots and ${filled} are filled`);
  }
  return [...found, ...slotsTellTheTruth(history, whole, decisions)];
}

/** A slot holds how its upstream ended; one that is not late was filled by an end before the decision. */
function slotsTellTheTruth(
  { final }: History,
  whole: readonly FeedEntry[],
  decisions: ReadonlyMap<string, readonly FeedEntry[]>,
): string[] {
  const ends = new Map(whole.filter(({ to }) => isTerminal(to)).map((entry) => [entry.execution, entry]));
  return final.edges.flatMap(({ join, upstream, downstream, outcome, late }) => {
    const edge = `the edge from ${upstream} to ${downstream}`;
    const end = ends.get(upstream);
    const due = end ? outcomeOf(end.to) : SlotOutcome.UNSPECIFIED;
    if (outcome !== due) return [`${edge} is filled ${SlotOutcome[outcome]}, not ${SlotOutcome[due]}`];
    const decided = decisions.get(join)?.[0];
    const overtaken = decided && end && !late && end.position > decided.position;
    return overtaken ? [`${edge} counts as in time, and its upstream ended after the decision`] : [];
  });
}

/**
 * What waits goes on only after the decision it waits for, and is skipped only by one. Who is blocked and has no upstream,
 * or not yet, or was released by its join before, waits for its key or a budget.
 */
export function nothingRunsBeforeItsJoin(history: History): string[] {
  const found: string[] = [];
  const states = new Map<string, ExecutionState>();
  const decided = new Map<string, LogEntryKind>();
  const begins = history.final.joins.filter(({ kind }) => kind !== JoinKind.CHILDREN);
  const firsts = new Set(begins.map(({ join }) => join));
  const downstreams = new Set(begins.map(({ downstream }) => downstream));
  const waits = waitsIn(history);
  for (const entry of wholeFeed(history) ?? []) {
    const { execution, kind, from, to, position } = entry;
    if (execution === '') continue;
    if (isDecision(entry)) decided.set(waitOf(execution, firsts.has(entry.join) ? BLOCKED : WAITING_CHILDREN), kind);
    if (to === ExecutionState.UNSPECIFIED) continue;
    const before = states.get(execution);
    if (to === WAITING_CHILDREN && before !== to) decided.delete(waitOf(execution, to));
    states.set(execution, to);
    if (before === to) continue;
    const hasUpstream = downstreams.has(execution) && position > (waits.get(execution) ?? 0n);
    if (before === WAITING_CHILDREN || (before === BLOCKED && (hasUpstream || to === SKIPPED))) {
      const by = decided.get(waitOf(execution, before));
      const step = `${execution} went from ${ExecutionState[from]} to ${ExecutionState[to]}`;
      if (!fits(before, to, by)) found.push(`${step} by ${by === undefined ? 'no decision' : LogEntryKind[by]}`);
    }
  }
  return found;
}

/**
 * Since when executions certainly wait for a join: one may stand in line before it is given its first upstream, and what is moved
 * out of the line then is told to be blocked once more. The last time before the first decision, or of all.
 */
function waitsIn(history: History): Map<string, bigint> {
  const since = new Map<string, bigint>();
  const decided = new Set<string>();
  for (const entry of wholeFeed(history) ?? []) {
    const { execution, to, position } = entry;
    if (isDecision(entry)) decided.add(execution);
    if (to === BLOCKED && !decided.has(execution)) since.set(execution, position);
  }
  return since;
}

const waitOf = (execution: string, state: ExecutionState) => `${execution} as ${ExecutionState[state]}`;

function fits(state: ExecutionState, to: ExecutionState, by: LogEntryKind | undefined): boolean {
  if (to === SKIPPED) return by === JOIN_IMPOSSIBLE;
  if (to !== QUEUED && to !== SCHEDULED && to !== RUNNING && to !== BLOCKED) return true;
  if (state === WAITING_CHILDREN) return by !== undefined;
  return by === JOIN_SATISFIED || by === JOIN_EXPIRED;
}

function isDecision({ kind }: FeedEntry): boolean {
  return kind === JOIN_SATISFIED || kind === JOIN_IMPOSSIBLE || kind === JOIN_EXPIRED;
}

function outcomeOf(state: ExecutionState): SlotOutcome {
  if (state === SUCCEEDED) return SlotOutcome.OK;
  return state === SKIPPED ? SlotOutcome.SKIPPED : SlotOutcome.FAILED;
}
