/** Which events a subscription wants, said once more and without SQL: what tests compare the engine with. */
import type { KeySource, SubscriptionSpec } from '../../../gen/tailrace/v1/subscription_pb.js';

/** What of an event a filter looks at. */
export interface Fact {
  readonly type: string;
  readonly stream: string;
  readonly flow: string;
  readonly batch?: object | undefined;
  readonly tags: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  /** Its payload. */
  readonly text: string;
  readonly contentType: string;
}

type Texts = Readonly<Record<string, string>>;

export function isWanted(spec: SubscriptionSpec, fact: Fact): boolean {
  const { eventTypes = [], streams = [], tags = {}, flowId = '' } = spec.filter ?? {};
  return (
    isAdmitted(fact.type, eventTypes, spec.eventTypePrefixes) &&
    isAdmitted(fact.stream, streams, spec.streamPrefixes) &&
    (flowId === '' || flowId === fact.flow) &&
    contains(fact.tags, tags) &&
    contains(fact.headers, spec.headers) &&
    (spec.batchJoin === undefined || fact.batch !== undefined) &&
    spec.payloadMatches.every(({ pointer, values }) => values.includes(valueAt(fact, pointer) ?? absent))
  );
}

/** Undefined: it has none, and is not ordered. */
export function keyOf(source: KeySource | undefined, fact: Fact): string | undefined {
  const { case: from, value } = source?.source ?? { case: undefined };
  const key = (() => {
    switch (from) {
      case 'flow':
        return fact.flow;
      case 'stream':
        return fact.stream;
      case 'tag':
        return fact.tags[value];
      case 'header':
        return fact.headers[value];
      case 'pointer':
        return valueAt(fact, value);
      default:
        return undefined;
    }
  })();
  return key === '' ? undefined : key;
}

/** No value is this. */
const absent = '\0';

function isAdmitted(value: string, exact: readonly string[], prefixes: readonly string[]): boolean {
  if (exact.length + prefixes.length === 0) return true;
  return value !== '' && (exact.includes(value) || prefixes.some((prefix) => value.startsWith(prefix)));
}

function contains(whole: Texts, part: Texts): boolean {
  return Object.entries(part).every(([key, value]) => whole[key] === value);
}

/** As text; of what is neither text, number nor truth value nothing is said here. */
function valueAt({ contentType, text }: Fact, pointer: string): string | undefined {
  if (!/^application\/([a-z0-9.+-]+\+)?json/i.test(contentType)) return undefined;
  const steps = pointer
    .split('/')
    .slice(1)
    .map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~'));
  try {
    const found = steps.reduce<unknown>((at, step) => (at as Record<string, unknown>)[step], JSON.parse(text));
    return found === undefined || found === null ? undefined : String(found);
  } catch {
    return undefined;
  }
}
