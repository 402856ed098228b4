/** What a history proves about limits: no more than permitted of a lane, a concurrency key or a namespace run at once. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { wholeFeed } from './feeds.js';
import { groupBy } from './grouping.js';
import type { Created, FinalExecution, History, Limited } from './history.js';

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
 * changed the highest counts, and only for what was created when there was one already: what runs under an older limit
 * may go on.
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
  const limits = events.filter((event): event is Limited => event.event === 'limited');
  const declared = groupBy(limits, ({ namespace, lane }) => subjectOf(namespace, lane));
  return new Map(final.executions.map((x) => [x.execution, boundsOf(x, created.get(x.execution), declared)]));
}

function boundsOf(
  { namespace, lane, key }: FinalExecution,
  created: Created | undefined,
  declared: ReadonlyMap<string, readonly Limited[]>,
): Bound[] {
  const bounds: Bound[] = [];
  const bound = (subject: string, said: readonly Limited[], mostOf: (limit: Limited) => number) => {
    const first = said[0];
    if (created === undefined || first === undefined || created.began < first.answered) return;
    bounds.push({ subject, most: Math.max(...said.map(mostOf)) });
  };
  const ofLane = declared.get(subjectOf(namespace, lane)) ?? [];
  bound(subjectOf(namespace, ''), declared.get(subjectOf(namespace, '')) ?? [], ({ running }) => running);
  bound(subjectOf(namespace, lane), ofLane, ({ running }) => running);
  if (key === '') return bounds;
  const subject = `key ${key} of ${subjectOf(namespace, lane)}`;
  const ofKeys = ofLane.filter(({ keys }) => keys !== undefined);
  if (ofKeys.length === 0) bounds.push({ subject, most: UNDECLARED_KEY });
  else bound(subject, ofKeys, ({ keys }) => keys?.named.get(key) ?? keys?.others ?? UNDECLARED_KEY);
  return bounds;
}

function subjectOf(namespace: string, lane: string): string {
  return lane === '' ? `namespace ${namespace}` : `lane ${lane} of namespace ${namespace}`;
}
