/** What a history proves about events: each accepted one is there once, as it was answered, and nothing else is. */
import { ExecutionState } from '../../../gen/tailrace/v1/execution_state_pb.js';
import { LogEntryKind } from '../../../gen/tailrace/v1/log_pb.js';
import type { Emitted, FinalEvent, Published } from './event-history.js';
import { wholeFeed } from './feeds.js';
import { countBy, groupBy } from './grouping.js';
import type { FinalStates, History } from './history.js';

export function eventsAreConserved(history: History): string[] {
  const { events } = history.final;
  const twice = [...countBy(events, ({ namespace, id }) => `event ${id} of ${namespace}`)];
  return [
    ...twice.flatMap(([name, count]) => (count > 1 ? [`${name} is there ${count} times`] : [])),
    ...answeredWrong(history),
    ...toldWrong(history),
    ...chainedWrong(history.final),
    ...brokenBatches(events),
  ];
}

/** Of an id, one call is told that it stored it; whoever is told of it is told the same; what nobody stored is not there. */
function answeredWrong({ events, final }: History): string[] {
  const found: string[] = [];
  const there = new Map(final.events.map((event) => [`${event.namespace}/${event.id}`, event]));
  const calls = events.filter((event): event is Published => event.event === 'published' && event.id !== '');
  for (const [name, tries] of groupBy(calls, ({ namespace, id }) => `${namespace}/${id}`)) {
    const event = there.get(name);
    const told = tries.filter(({ verdict }) => verdict === 'accepted' || verdict === 'duplicate');
    const accepted = told.filter(({ verdict }) => verdict === 'accepted').length;
    const isUncertain = tries.some(({ verdict }) => verdict === 'unanswered');
    if (told.length > 0 && event === undefined) found.push(`event ${name} was accepted and is gone`);
    if (accepted > 1) found.push(`event ${name} was accepted ${accepted} times`);
    if (told.length > 0 && accepted === 0 && !isUncertain) found.push(`event ${name} is a duplicate of nothing`);
    if (told.length === 0 && !isUncertain && event) found.push(`event ${name} was refused and is there`);
    for (const { position, version } of event ? told : []) {
      if (position !== undefined && position !== event?.position) {
        found.push(`event ${name} is at ${event?.position}; ${position} was answered`);
      }
      if (version !== undefined && version !== event?.version) {
        found.push(`event ${name} has version ${event?.version}; ${version} was answered`);
      }
    }
  }
  return found;
}

/** The log tells of each once, at its place. */
function toldWrong(history: History): string[] {
  const whole = wholeFeed(history);
  if (whole === undefined) return [];
  const found: string[] = [];
  const told = groupBy(
    whole.filter(({ kind }) => kind === LogEntryKind.EVENT_PUBLISHED),
    ({ published = '' }) => published,
  );
  const there = groupBy(history.final.events, ({ id }) => id);
  for (const [id, events] of there) {
    const at = (told.get(id) ?? []).map(({ position }) => position);
    const own = events.map(({ position }) => position);
    if (at.join() !== own.toSorted((a, b) => Number(a - b)).join()) {
      found.push(`event ${id} is at ${own.join()}; the feed tells it at ${at.join() || 'no place'}`);
    }
  }
  for (const id of told.keys()) if (!there.has(id)) found.push(`the feed tells of event ${id}, which is not there`);
  return found;
}

/** It has one hop more than its cause and stands behind it. What had too many and was sent on by a person counts from 0. */
function chainedWrong({ events, eventLetters }: FinalStates): string[] {
  const byId = new Map(events.map((event) => [`${event.namespace}/${event.id}`, event]));
  const stopped = new Set(eventLetters.map(({ namespace, event }) => `${namespace}/${event}`));
  return events.flatMap(({ namespace, id, cause, hops, position, emitter }) => {
    const before = byId.get(`${namespace}/${cause}`);
    if (before === undefined) return [];
    const found: string[] = [];
    const anew = emitter !== '' && hops === 1 && stopped.has(`${namespace}/${cause}`);
    if (hops !== before.hops + 1 && !anew) found.push(`event ${id} has ${hops} hops, and its cause ${before.hops}`);
    if (position <= before.position) found.push(`event ${id} stands before its cause`);
    return found;
  });
}

/** Whatever was published together is there together. */
function brokenBatches(events: readonly FinalEvent[]): string[] {
  const batches = groupBy(
    events.filter(({ batch }) => batch !== undefined),
    ({ batch }) => batch?.id ?? '',
  );
  return [...batches].flatMap(([batch, members]) => {
    const sizes = new Set(members.map((event) => event.batch?.size));
    const places = new Set(members.map((event) => event.batch?.index));
    if (sizes.size > 1) return [`batch ${batch} has ${sizes.size} sizes`];
    const [size] = sizes;
    return places.size === size ? [] : [`batch ${batch} has ${size} places, and events of ${places.size}`];
  });
}

/** Versions rise by one, in the order of the log. */
export function streamsHaveNoGaps({ final }: History): string[] {
  const streams = groupBy(
    final.events.filter(({ stream }) => stream !== ''),
    ({ namespace, stream }) => `stream ${stream} of ${namespace}`,
  );
  return [...streams].flatMap(([stream, events]) => {
    const inOrder = events.toSorted((a, b) => Number(a.position - b.position));
    const wrong = inOrder.find(({ version }, i) => version !== i + 1);
    return wrong ? [`${stream}: event ${wrong.id} has version ${wrong.version} at ${inOrder.indexOf(wrong) + 1}`] : [];
  });
}

/** What comes with a completion is made once, with the one that was accepted. */
export function emissionsAreMadeOnce({ events, final }: History): string[] {
  const found: string[] = [];
  const made = groupBy(final.events, ({ emitter }) => emitter);
  const told = events.filter((event): event is Emitted => event.event === 'emitted');
  const runs = new Map(final.executions.map((run) => [run.execution, run]));
  for (const [execution, answers] of groupBy(told, (answer) => answer.execution)) {
    const own = made.get(execution) ?? [];
    const ids = own.map(({ id }) => id).sort();
    for (const answer of answers) {
      if ([...answer.ids].sort().join() !== ids.join()) {
        found.push(`${execution} emitted ${ids.length} events; its completion was answered with ${answer.ids.length}`);
      }
    }
    const run = runs.get(execution);
    for (const { id, hops, cause } of run ? own : []) {
      if (hops !== (run?.hops ?? 0) + 1) found.push(`event ${id} has ${hops} hops, and who emitted it ${run?.hops}`);
      if (cause !== (run?.reaction?.event ?? '')) found.push(`event ${id} names cause ${cause}, not its emitter's`);
    }
  }
  const answered = new Set(told.map(({ execution }) => execution));
  const lost = events.some((event) => event.event === 'unanswered' && event.call === 'CompleteExecutions');
  for (const { execution, state } of lost ? [] : final.executions) {
    const count = made.get(execution)?.length ?? 0;
    if (state === ExecutionState.SUCCEEDED && count > 0 && !answered.has(execution)) {
      found.push(`${execution} emitted ${count} events, and nobody was told of its completion`);
    }
  }
  return found;
}
