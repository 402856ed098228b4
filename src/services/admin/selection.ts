/** What filters of lists have in common. */

export { FILTER_VALUES } from '../log-filter.js';

/** Contents up to this size come along in lists, where they are asked for. */
export const INLINE_BYTES = 64 * 1_024;
export const NOTHING_INLINE = -1;

/** An empty field selects everything. */
export function orNull<T>(values: readonly T[]): readonly T[] | null {
  return values.length === 0 ? null : values;
}

/** No tags select everything, too. */
export function tagsOrNull(given: Readonly<Record<string, string>>): Readonly<Record<string, string>> | null {
  return Object.keys(given).length === 0 ? null : given;
}
