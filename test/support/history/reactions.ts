/**
 * What a history proves about subscriptions: of every event and every subscription there was for it, exactly one
 * execution. Where the calls leave open which came first, or what a changed subscription admitted, at most one.
 */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { FlowState } from '../../../gen/tailrace/v1/flow_pb.js';
import { LogEntryKind, StartPosition } from '../../../gen/tailrace/v1/log_pb.js';
import type { SubscriptionSpec } from '../../../gen/tailrace/v1/subscription_pb.js';
import { isWanted } from '../events/matching.js';
import type { FinalEvent, Published, Subscribed } from './event-history.js';
import { wholeFeed } from './feeds.js';
import { countBy, groupBy } from './grouping.js';
import type { FinalExecution, FinalFlow, History } from './history.js';

/** How often something may be there. */
type Due = readonly [least: number, most: number];

const NONE: Due = [0, 0];
const PERHAPS: Due = [0, 1];
const ONE: Due = [1, 1];

type Reacting = FinalExecution & Required<Pick<FinalExecution, 'reaction'>>;

export function reactionsAreExact(history: History): string[] {
  const { executions, events, joins } = history.final;
  const puts = history.events.filter((event): event is Subscribed => event.event === 'subscribed');
  const runs = executions.filter((run): run is Reacting => run.reaction !== undefined && run.redriveOf === '');
  if (puts.length === 0) return [];
  const started = countBy(runs, ({ namespace, reaction }) => nameOf(namespace, reaction.subscription, reaction.event));
  const joined = countBy(joins, ({ subscription = '', batch = '' }) => `${subscription} ${batch}`);
  const found: string[] = [];
  const dueOf = dues(history);
  for (const [subscription, changes] of groupBy(puts, ({ namespace, name }) => `${namespace}/${name}`)) {
    const [{ namespace, name, spec }] = changes as [Subscribed, ...Subscribed[]];
    const own = events.filter((event) => event.namespace === namespace);
    if (spec?.batchJoin) {
      const batches = groupBy(own, ({ batch }) => batch?.id ?? '');
      batches.delete('');
      for (const [batch, members] of batches) {
        const all = members.map((event) => dueOf(event, changes));
        const due: Due = all.includes(ONE) ? ONE : [0, Math.max(...all.map(([, most]) => most))];
        found.push(...wrong(`${subscription} has joins of batch ${batch}`, joined.get(`${name} ${batch}`), due));
      }
      continue;
    }
    for (const event of own) {
      const due = dueOf(event, changes);
      const made = started.get(nameOf(namespace, name, event.id));
      found.push(...wrong(`${subscription} reacts to event ${event.id}`, made, due));
    }
  }
  return [...found, ...ghosts(runs, events, puts)];
}

function wrong(what: string, made = 0, [least, most]: Due): string[] {
  if (made >= least && made <= most) return [];
  return [`${what} ${made} times, and it is ${least === most ? most : `${least} to ${most}`}`];
}

/** What reacts to nothing, or for nobody. */
function ghosts(runs: readonly Reacting[], events: readonly FinalEvent[], puts: readonly Subscribed[]): string[] {
  const there = new Set(events.map(({ namespace, id }) => `${namespace}/${id}`));
  const known = new Set(puts.map(({ namespace, name }) => `${namespace}/${name}`));
  return runs.flatMap(({ execution, namespace, reaction: { event, subscription } }) => [
    // A join reacts to a batch.
    ...(event === '' || there.has(`${namespace}/${event}`)
      ? []
      : [`${execution} reacts to ${event}, which is not there`]),
    ...(known.has(`${namespace}/${subscription}`)
      ? []
      : [`${execution} is of subscription ${subscription}, of nobody`]),
  ]);
}

function dues(history: History) {
  const { events, final } = history;
  const since = publicationsOf(events, final.events);
  const unlucky = new Set(
    final.executions.filter(({ state }) => state > ExecutionState.SUCCEEDED).map(({ flow }) => flow),
  );
  const isMuted = ({ flow, state, cancels }: FinalFlow) => isCanceled(state) || (cancels && unlucky.has(flow));
  const muted = new Set(final.flows.filter(isMuted).map(({ flow }) => flow));
  const letters = new Map(final.eventLetters.map((one) => [`${one.namespace}/${one.event}`, one]));
  const sentOn = sentOnIn(history);
  const behind = new Set(
    final.subscriptions
      .filter(({ halted, behind }) => halted || behind)
      .map(({ namespace, name }) => `${namespace}/${name}`),
  );
  return (event: FinalEvent, changes: readonly Subscribed[]): Due => {
    const [{ namespace, name }] = changes as [Subscribed];
    const { least, most } = since.get(event) ?? { least: -1, most: Number.POSITIVE_INFINITY };
    const due = dueOf(event, least, most, changes);
    if (due === NONE) return NONE;
    // Over the limit of hops; sent on by a person, it is the past to whoever came later, and its letter may be open again.
    const letter = letters.get(`${event.namespace}/${event.id}`);
    if (letter?.state === 'open' && !sentOn(letter.letter)) return NONE;
    const mayWait = muted.has(event.flow) || behind.has(`${namespace}/${name}`) || letter !== undefined;
    return mayWait ? [0, due[1]] : due;
  };
}

/** Whether somebody had the subject of a letter tried again. */
function sentOnIn(history: History): (letter: string) => boolean {
  const whole = wholeFeed(history);
  const letters = new Set(
    whole?.flatMap(({ kind, letter }) => (kind === LogEntryKind.DEAD_LETTER_REDRIVING ? [letter] : [])),
  );
  return (letter) => whole === undefined || letters.has(letter);
}

function dueOf(event: FinalEvent, least: number, most: number, changes: readonly Subscribed[]): Due {
  const puts = changes.filter((change): change is Subscribed & { spec: SubscriptionSpec } => change.spec !== undefined);
  const [first] = puts;
  if (first === undefined) return NONE;
  // Deleted and put again it is another one of that name, which may react to the past once more.
  const lives = 1 + changes.filter(({ spec }, i) => spec === undefined && changes[i + 1]?.spec !== undefined).length;
  if (lives > 1) return puts.some(({ spec }) => isWanted(spec, event)) ? [0, lives] : NONE;
  // What may have been in force when it was published, or may be when it is looked at.
  const inForce = puts.filter((put) => !puts.some((later) => later.began > put.answered && later.answered < least));
  const wanted = inForce.filter(({ spec }) => isWanted(spec, event));
  if (wanted.length === 0) return NONE;
  const isPast = most < first.began;
  const goesBack = first.spec.start === StartPosition.EARLIEST || first.spec.cursor !== '';
  if (isPast && !goesBack) return NONE;
  const isSure =
    wanted.length === inForce.length &&
    changes.length === puts.length &&
    puts.every(({ certain }) => certain) &&
    (least > first.answered || first.spec.start === StartPosition.EARLIEST);
  return isSure ? ONE : PERHAPS;
}

/** Between which calls an event was published: not before its cause was. */
function publicationsOf(events: History['events'], there: readonly FinalEvent[]) {
  const calls = groupBy(
    events.filter((event): event is Published => event.event === 'published' && event.verdict !== 'refused'),
    ({ namespace, id }) => `${namespace}/${id}`,
  );
  const emitted = new Map(
    events.flatMap((event) => (event.event === 'emitted' ? event.ids.map((id) => [id, event] as const) : [])),
  );
  const byId = new Map(there.map((event) => [`${event.namespace}/${event.id}`, event]));
  const known = new Map<FinalEvent, { least: number; most: number }>();
  const of = (event: FinalEvent): { least: number; most: number } => {
    const before = known.get(event);
    if (before) return before;
    const name = `${event.namespace}/${event.id}`;
    const tries = calls.get(name) ?? [];
    const answered = tries.filter(({ verdict }) => verdict !== 'unanswered').map((call) => call.answered);
    const completion = emitted.get(event.id);
    const own = Math.min(...tries.map(({ began }) => began));
    const cause = byId.get(`${event.namespace}/${event.cause}`);
    const least = Math.max(Number.isFinite(own) ? own : -1, cause ? of(cause).least : -1);
    const found = { least, most: Math.min(...answered, completion?.answered ?? Number.POSITIVE_INFINITY) };
    known.set(event, found);
    return found;
  };
  for (const event of there) of(event);
  return known;
}

const isCanceled = (state: FlowState) => state === FlowState.CANCELED || state === FlowState.CANCELING;

const nameOf = (namespace: string, subscription: string, event: string) => `${namespace}/${subscription} ${event}`;
