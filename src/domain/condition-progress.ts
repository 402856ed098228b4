/**
 * What a condition still lacks, for people: whether it holds is decided in SQL, where the signals are (condition_takes).
 */
import { type Condition, CountDistinct, type SignalSelector } from './condition.js';

/** A signal that nothing has taken yet. */
export interface UntakenSignal {
  readonly name: string;
  /** Key of the waitpoint it landed on; null: it was addressed to the execution. */
  readonly waitpoint: string | null;
  readonly source: number;
  readonly source_id: string;
}

/** A part that does not hold: the whole, unless that has members. */
export type MissingPart =
  | Exclude<Condition, { kind: 'all_of' | 'count' }>
  | (Extract<Condition, { kind: 'count' }> & { readonly have: number });

export function missingOf(condition: Condition, signals: readonly UntakenSignal[]): readonly MissingPart[] {
  switch (condition.kind) {
    case 'signal':
      return signals.some((signal) => fits(condition, signal)) ? [] : [condition];
    case 'all_of':
      return condition.members.flatMap((member) => missingOf(member, signals));
    case 'count': {
      const have = countedBy(condition, signals);
      return have >= condition.count ? [] : [{ ...condition, have }];
    }
    default:
      return [condition];
  }
}

function countedBy(
  { distinct, among }: Extract<Condition, { kind: 'count' }>,
  signals: readonly UntakenSignal[],
): number {
  const fitting = signals.filter((signal) => among.length === 0 || among.some((selector) => fits(selector, signal)));
  switch (distinct) {
    case CountDistinct.WAITPOINTS:
      return new Set(fitting.flatMap(({ waitpoint }) => waitpoint ?? [])).size;
    case CountDistinct.SOURCES:
      return new Set(fitting.map(({ source, source_id }) => `${source} ${source_id}`)).size;
    default:
      return fitting.length;
  }
}

function fits({ name, waitpoint }: SignalSelector, signal: UntakenSignal): boolean {
  return (name === '' || name === signal.name) && (waitpoint === '' || waitpoint === signal.waitpoint);
}
