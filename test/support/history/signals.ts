/** What a history proves about signals: each counts once, and satisfies one suspension of an attempt at most. */
import { SignalEffect } from '../../../gen/tailrace/v1/signal_pb.js';
import { groupBy } from './grouping.js';
import type { History, Matched, Signaled } from './history.js';

export function signalsServeOnce({ events }: History): string[] {
  const found: string[] = [];
  const sent = events.filter((event): event is Signaled => event.event === 'signaled');
  const matched = events.filter((event): event is Matched => event.event === 'matched');

  // What is ignored is not kept, so it has no id: two of them are not one that counted twice.
  const isKept = ({ effect }: Signaled) => effect !== SignalEffect.IGNORED;
  if (sent.some((answer) => isKept(answer) === (answer.signal === '')))
    found.push('an ignored signal has an id, or a kept one none');
  for (const [signal, answers] of groupBy(sent.filter(isKept), (answer) => answer.signal)) {
    const effects = answers.map(({ effect }) => effect).filter((effect) => effect !== SignalEffect.DUPLICATE);
    if (effects.length > 1) {
      found.push(`signal ${signal} counted ${effects.length} times: ${effects.map((effect) => SignalEffect[effect])}`);
    }
  }
  const served = new Map<string, string>();
  for (const told of matched) {
    for (const signal of told.signals) {
      const key = `${told.attempt} ${signal}`;
      const before = served.get(key);
      if (before !== undefined && before !== nameOf(told)) {
        found.push(`signal ${signal} satisfied ${before} and ${nameOf(told)}`);
      }
      served.set(key, nameOf(told));
    }
    if (new Set(told.signals).size < told.signals.length) found.push(`a signal satisfied ${nameOf(told)} twice`);
  }
  return [...new Set([...found, ...toldOtherwise(matched)])];
}

/** Whoever is told of a suspension is told the same, but perhaps not of all. */
function toldOtherwise(matched: readonly Matched[]): string[] {
  return [...groupBy(matched, nameOf)].flatMap(([name, tellings]) => {
    const [longest, ...others] = tellings.map(({ signals }) => signals).sort((a, b) => b.length - a.length);
    const differs = others.some((signals) => signals.some((signal, i) => signal !== longest?.[i]));
    return differs ? [`${name} was satisfied by some signals, and by others`] : [];
  });
}

function nameOf({ execution, attempt, suspension }: Matched): string {
  return `suspension ${suspension} of attempt ${attempt} of ${execution}`;
}
