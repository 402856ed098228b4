/** What a history proves about limits: no more than permitted of a lane, a concurrency key or a namespace run at once. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { wholeFeed } from './feeds.js';
import { groupBy } from './grouping.js';
import type { Claimed, Created, FinalExecution, History, Limited } from './history.js';

const { RUNNING, UNSPECIFIED } = ExecutionState;

/** Of a key that nobody has said anything of. */
const UNDECLARED_KEY = 16;

interface Bound {
  /** For people, and the same for all that share it. */
  readonly subject: string;
  readonly most: number;
}

/**
 * Claims come after the ends that made room for them, in the log too, so the log alone can be counted. Where a limit was
 * changed the highest counts, also one that nobody knows to have come about, and only for what was created and claimed
 * when there was one already: what runs under an older limit may go on, and a claim that looked at the limits before
 * takes what it finds.
 */
export function limitsHold(history: History): string[] {
  const whole = wholeFeed(history);
  if (whole === undefined) return [];
  const bounds = boundsIn(history);
  const running = new Map<string, Set<string>>();
  const found = new Set<string>();
  for (const { execution, to } of whole) {
    if (to === UNSPECIFIED) continue;
    for (const { subject, most } of bounds.get(execution) ?? []) {
      const set = running.get(subject) ?? new Set();
      running.set(subject, set);
      if (to !== RUNNING) set.delete(execution);
      else if (set.add(execution).size > most) found.add(`more than ${most} of ${subject} ran at once`);
    }
  }
  return [...found];
}

function boundsIn({ events, final }: History): Map<string, Bound[]> {
  const created = new Map(
    events
      .filter((event): event is Created => event.event === 'created' && !event.duplicate)
      .map((event) => [event.execution, event]),
  );
  const claims = events.filter((event): event is Claimed => event.event === 'claimed');
  const claimed = groupBy(claims, ({ execution }) => execution);
  const limits = events.filter((event): event is Limited => event.event === 'limited');
  // Absent: nobody knows when it was created.
  const begunOf = (execution: string) => {
    const made = created.get(execution);
    return made && Math.min(made.began, ...(claimed.get(execution) ?? []).map(({ began }) => began));
  };
  const declared = groupBy(limits, ({ namespace, lane }) => subjectOf(namespace, lane));
  return new Map(final.executions.map((x) => [x.execution, boundsOf(x, begunOf(x.execution), declared)]));
}

function boundsOf(
  { namespace, lane, key }: FinalExecution,
  begun: number | undefined,
  declared: ReadonlyMap<string, readonly Limited[]>,
): Bound[] {
  const bounds: Bound[] = [];
  const bound = (subject: string, said: readonly Limited[], mostOf: (limit: Limited) => number) => {
    const first = said.find(({ certain }) => certain);
    if (begun === undefined || first === undefined || begun < first.answered) return;
    bounds.push({ subject, most: Math.max(...said.map(mostOf)) });
  };
  const ofLane = declared.get(subjectOf(namespace, lane)) ?? [];
  bound(subjectOf(namespace, ''), declared.get(subjectOf(namespace, '')) ?? [], ({ running }) => running);
  bound(subjectOf(namespace, lane), ofLane, ({ running }) => running);
  if (key === '') return bounds;
  const subject = `key ${key} of ${subjectOf(namespace, lane)}`;
  const ofKeys = ofLane.filter(({ keys }) => keys !== undefined);
  const mostOf = ({ keys }: Limited) => keys?.named.get(key) ?? keys?.others ?? UNDECLARED_KEY;
  if (ofKeys.some(({ certain }) => certain)) bound(subject, ofKeys, mostOf);
  else bounds.push({ subject, most: Math.max(UNDECLARED_KEY, ...ofKeys.map(mostOf)) });
  return bounds;
}

function subjectOf(namespace: string, lane: string): string {
  return lane === '' ? `namespace ${namespace}` : `lane ${lane} of namespace ${namespace}`;
}
