/** What a target is: something that a figure is held against, and how such figures are read from the results. */

/** The median of one contestant's figure. */
export interface Find {
  (contestant: string, key: string): number | undefined;
  /** Of every contestant of the measure. */
  readonly all: (key: string) => number[];
  /** The largest there was, of anybody in any repeat: for what must never happen. */
  readonly most: (key: string) => number | undefined;
}

export interface Target {
  readonly measure: string;
  readonly text: string;
  /** Whether a release depends on it. */
  readonly required?: true;
  /** Of a machine with more cores than this; default any. */
  readonly cores?: number;
  readonly unit: string;
  /** Undefined when what it needs was not measured. */
  readonly value: (find: Find) => number | undefined;
  readonly reached: (value: number) => boolean;
}

export const atLeast = (bound: number) => (value: number) => value >= bound;
export const atMost = (bound: number) => (value: number) => value <= bound;
export const below = (bound: number) => (value: number) => value < bound;

export const figureOf = (contestant: string, key: string) => (find: Find) => find(contestant, key);

/** Of one contestant's figure, to another's. */
export const against = (measure: string, text: string, key: string, [one, other]: readonly [string, string]) => ({
  ...{ measure, text, unit: '×' },
  value: (find: Find) => ratio(find(one, key), find(other, key)),
});

export const never = (measure: string, text: string, key: string): Target => ({
  ...{ measure, text, unit: '' },
  value: (find) => find.most(key),
  reached: (value) => value === 0,
});

export function ratio(value: number | undefined, of: number | undefined): number | undefined {
  return value === undefined || of === undefined ? undefined : value / of;
}

export function largest(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : Math.max(...values);
}

export function range(values: readonly number[]): number | undefined {
  return values.length < 2 ? undefined : Math.max(...values) / Math.min(...values);
}
