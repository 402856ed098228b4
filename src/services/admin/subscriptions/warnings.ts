/** What is probably not meant, for people. */
import { isOfLetters } from './filter.js';
import type { Spec } from './spec.js';

export function warningsOf(spec: Spec): string[] {
  if (isOfLetters(spec.filter)) return unreached(spec);
  return [...tooWide(spec), ...contradictions(spec), ...unread(spec), ...unreached(spec)];
}

function tooWide({ filter, eventTypePrefixes, streamPrefixes, payloadMatches, headers }: Spec): string[] {
  const lists = [filter?.eventTypes, filter?.streams, eventTypePrefixes, streamPrefixes, payloadMatches];
  const labels = [filter?.tags, headers];
  const isOpen =
    !filter?.flowId &&
    lists.every((list) => (list ?? []).length === 0) &&
    labels.every((map) => Object.keys(map ?? {}).length === 0);
  return isOpen ? ['its filter admits every event of the namespace, also those that it causes itself'] : [];
}

/** Conditions that no event can meet at once. */
function contradictions({ payloadMatches }: Spec): string[] {
  const left = new Map<string, ReadonlySet<string>>();
  for (const { pointer, values } of payloadMatches) {
    const key = pointer.map((part) => `/${part.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
    const before = left.get(key);
    left.set(key, new Set(before ? values.filter((value) => before.has(value)) : values));
  }
  return [...left]
    .filter(([, values]) => values.size === 0)
    .map(([key]) => `it matches nothing: no value at ${JSON.stringify(key)} meets all of its payload_matches`);
}

function unread({ filter }: Spec): string[] {
  const given = [
    filter?.executionId && 'execution_id',
    filter?.lanes.length && 'lanes',
    filter?.types.length && 'types',
  ].filter(Boolean);
  return given.length === 0 ? [] : [`its filter's ${given.join(', ')} are not looked at for events`];
}

function unreached({ filter, eventTypePrefixes, batchJoin, delay, ttl, deadline }: Spec): string[] {
  const warnings: string[] = [];
  if (deadline !== null && deadline <= (delay ?? 0)) {
    warnings.push('its deadline is not later than its delay: what it starts expires before it may run');
  }
  if (ttl !== null && deadline !== null && ttl >= deadline) warnings.push('its ttl is not shorter than its deadline');
  const filling = batchJoin?.eventType;
  const types = filter?.eventTypes ?? [];
  const isOpen = types.length === 0 && eventTypePrefixes.length === 0;
  if (filling && !isOpen && !types.includes(filling) && !eventTypePrefixes.some((start) => filling.startsWith(start))) {
    warnings.push(`its filter does not admit ${JSON.stringify(filling)}, which is to fill the slots of its joins`);
  }
  return warnings;
}
