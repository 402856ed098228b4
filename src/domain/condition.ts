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

type Count = Extract<Condition, { kind: 'count' }>;

export const MAX_DEPTH = 4;
export const MAX_MEMBERS = 64;
/** Of the message that asks for it. */
export const MAX_BYTES = 8 * 1024;
/** What one execution can have at most: signals, and with them sources; waitpoints. */
export interface Countable {
  readonly perExecution: number;
  readonly waitpoints: number;
}

export interface NodeFault {
  /** Of the node; undefined: the node itself. */
  readonly field?: 'members' | 'count';
  readonly message: string;
}

/** What is wrong with a node by itself, at this depth from 1; undefined when nothing is. */
export function nodeFault(condition: Condition, depth: number, most: Countable): NodeFault | undefined {
  if (depth > MAX_DEPTH) return { message: `is nested too deeply: at most ${MAX_DEPTH} levels` };
  switch (condition.kind) {
    case 'signal':
      return undefined;
    case 'all_of': {
      const { length } = condition.members;
      if (length >= 1 && length <= MAX_MEMBERS) return undefined;
      return { field: 'members', message: `must have 1 to ${MAX_MEMBERS} items; it has ${length}` };
    }
    case 'count':
      return countFault(condition, most);
    default:
      return depth === 1 ? undefined : { message: 'may only stand at the root of a condition' };
  }
}

function countFault(condition: Count, most: Countable): NodeFault | undefined {
  const { count, distinct, among } = condition;
  const limit =
    distinct !== CountDistinct.WAITPOINTS
      ? most.perExecution
      : takesAnyWaitpoint(condition)
        ? most.waitpoints
        : new Set(among.map(({ waitpoint }) => waitpoint)).size;
  if (Number.isInteger(count) && count >= 1 && count <= limit) return undefined;
  const what = distinct === CountDistinct.WAITPOINTS ? ', the number of waitpoints it can count' : '';
  return { field: 'count', message: `must be from 1 to ${limit}${what}; it is ${count}` };
}

/** A selector that names no waitpoint takes signals at any of them. */
function takesAnyWaitpoint({ among }: Count): boolean {
  return among.length === 0 || among.some(({ waitpoint }) => waitpoint === '');
}

/** It counts waitpoints that it does not name: perhaps more than there are. */
export function countsWaitpoints(condition: Condition): boolean {
  if (condition.kind === 'all_of') return condition.members.some(countsWaitpoints);
  return condition.kind === 'count' && condition.distinct === CountDistinct.WAITPOINTS && takesAnyWaitpoint(condition);
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
