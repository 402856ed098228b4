/**
 * Conditions over signals: the form in which they are stored, and the rules they must keep. Whether one holds is decided
 * where the signals are, in SQL (condition_takes), under the lock of the execution.
 *
 * A condition that could never hold is refused when it is asked for: nobody would notice later why it waits.
 */

/** Empty: any. */
export interface SignalSelector {
  readonly name: string;
  readonly waitpoint: string;
}

/** What a count counts once. The numbers are stored, and equal those of the contract. */
export const CountDistinct = { SIGNALS: 1, WAITPOINTS: 2, SOURCES: 3 } as const;

/** As stored. */
export type Condition =
  | ({ readonly kind: 'signal' } & SignalSelector)
  | { readonly kind: 'all_of'; readonly members: readonly Condition[] }
  | {
      readonly kind: 'count';
      readonly count: number;
      readonly distinct: number;
      /** None: any signal. */
      readonly among: readonly SignalSelector[];
    }
  | { readonly kind: 'operator_only' }
  | { readonly kind: 'timeout_only' };

export const MAX_DEPTH = 4;
export const MAX_MEMBERS = 64;
/** Of the message that asks for it. */
export const MAX_BYTES = 8 * 1024;
/** Signals, and sources, that one execution can ever see; and waitpoints it can have. */
const MAX_SIGNALS = 10_000;
const MAX_WAITPOINTS = 1_000;

/** What is wrong with a node by itself, at this depth from 1; undefined when nothing is. */
export function nodeFault(condition: Condition, depth: number): string | undefined {
  if (depth > MAX_DEPTH) return `is nested too deeply: at most ${MAX_DEPTH} levels`;
  switch (condition.kind) {
    case 'signal':
      return undefined;
    case 'all_of': {
      const { length } = condition.members;
      return length >= 1 && length <= MAX_MEMBERS
        ? undefined
        : `must have 1 to ${MAX_MEMBERS} members; it has ${length}`;
    }
    case 'count':
      return countFault(condition);
    default:
      return depth === 1 ? undefined : 'may only stand at the root of a condition';
  }
}

function countFault({ count, distinct, among }: Extract<Condition, { kind: 'count' }>): string | undefined {
  const most = distinct === CountDistinct.WAITPOINTS ? waitpointsAmong(among) : MAX_SIGNALS;
  if (Number.isInteger(count) && count >= 1 && count <= most) return undefined;
  const what = distinct === CountDistinct.WAITPOINTS ? ', the number of waitpoints it can count' : '';
  return `must count from 1 to ${most}${what}; it counts to ${count}`;
}

/** A selector that names no waitpoint takes signals at any of them. */
function waitpointsAmong(among: readonly SignalSelector[]): number {
  if (among.length === 0 || among.some(({ waitpoint }) => waitpoint === '')) return MAX_WAITPOINTS;
  return new Set(among.map(({ waitpoint }) => waitpoint)).size;
}

/** The keys of the waitpoints it names, each once. */
export function waitpointsIn(condition: Condition): readonly string[] {
  return [...new Set(selectorsIn(condition).flatMap(({ waitpoint }) => (waitpoint === '' ? [] : [waitpoint])))];
}

function selectorsIn(condition: Condition): readonly SignalSelector[] {
  if (condition.kind === 'signal') return [condition];
  if (condition.kind === 'all_of') return condition.members.flatMap(selectorsIn);
  return condition.kind === 'count' ? condition.among : [];
}
