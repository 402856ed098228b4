/** What a history proves about flows: members are neither lost nor gained, and a flow stands as its members ended. */
import { EndReason, ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import { isTerminal } from './executions.js';
import { wholeFeed } from './feeds.js';
import { groupBy } from './grouping.js';
import type { FinalExecution, FinalFlow, History } from './history.js';

const { ACTIVE, CANCELING, SUCCEEDED, FAILED } = FlowState;

export function flowsAreConserved(history: History): string[] {
  const members = groupBy(history.final.executions, ({ flow }) => flow);
  const eventful = new Set(history.final.events.map(({ flow }) => flow));
  const standing = history.final.flows.flatMap((flow) => {
    const own = members.get(flow.flow) ?? [];
    return [...standsWrong(flow, own), ...(eventful.has(flow.flow) ? [] : isVacuous(flow, own))];
  });
  return [...standing, ...toldWrong(history, members)];
}

/**
 * What runs again in it under another name does not count; what was redriven outside of it does. Settled only when nothing is
 * live; succeeded only when nothing required failed, and failed only when something did.
 */
function standsWrong(flow: FinalFlow, members: readonly FinalExecution[]): string[] {
  const { state, sealed } = flow;
  const told = nameOf(flow);
  const again = new Set(members.map(({ redriveOf }) => redriveOf));
  const live = members.filter((member) => !isTerminal(member.state));
  const failed = members.filter((member) => countsAsFailed(member) && !again.has(member.execution));
  const found: string[] = [];
  if (state !== ACTIVE && state !== CANCELING && live.length > 0) found.push(`${told}, and ${live.length} are live`);
  if ([SUCCEEDED, FAILED].includes(state) && !sealed) found.push(`${told}, and is not sealed`);
  if (state === SUCCEEDED && failed.length > 0) found.push(`${told}, and ${failed.length} required members failed`);
  if (state === FAILED && failed.length === 0) found.push(`${told}, and no required member failed`);
  return found;
}

/** Of one that had no event either. */
function isVacuous(flow: FinalFlow, members: readonly FinalExecution[]): string[] {
  const hasEnded = flow.state === SUCCEEDED || flow.state === FAILED;
  return hasEnded && members.length === 0 ? [`${nameOf(flow)}, and never had a member`] : [];
}

const nameOf = ({ flow, state }: FinalFlow) => `flow ${flow} is ${FlowState[state]}`;

/** A loser of a join does not count. */
function countsAsFailed({ state, reason, optional }: FinalExecution): boolean {
  if (optional || !isTerminal(state)) return false;
  return state !== ExecutionState.SUCCEEDED && reason !== EndReason.JOIN_SATISFIED;
}

/** The feed tells of the same members, and that a flow has settled only when all of them have ended. */
function toldWrong(history: History, members: ReadonlyMap<string, readonly FinalExecution[]>): string[] {
  const whole = wholeFeed(history);
  if (whole === undefined) return [];
  const found: string[] = [];
  const live = new Map<string, Set<string>>();
  const made = new Map<string, Set<string>>();
  for (const { kind, flow, execution, to } of whole) {
    if (flow === '') continue;
    if (kind === LogEntryKind.EXECUTION_CREATED) {
      of(made, flow).add(execution);
      of(live, flow).add(execution);
    }
    if (isTerminal(to)) of(live, flow).delete(execution);
    const left = of(live, flow).size;
    if (kind === LogEntryKind.FLOW_SETTLED && left > 0) found.push(`flow ${flow} settled, and ${left} were live`);
  }
  const there = new Set([...members.values()].flat().map(({ execution }) => execution));
  const retired = new Set(history.final.retired);
  for (const [flow, ids] of made) {
    const gone = [...ids].filter((id) => !there.has(id) && !retired.has(id));
    found.push(...gone.map((id) => `flow ${flow} lost its member ${id}`));
  }
  for (const [flow, ids] of members) {
    if (flow === '') continue;
    const untold = ids.filter(({ execution }) => !made.get(flow)?.has(execution));
    found.push(
      ...untold.map(({ execution }) => `flow ${flow} has a member ${execution} that the feed does not tell of`),
    );
  }
  return found;
}

function of(sets: Map<string, Set<string>>, flow: string): Set<string> {
  const set = sets.get(flow) ?? new Set();
  sets.set(flow, set);
  return set;
}
