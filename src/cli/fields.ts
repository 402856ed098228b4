/** Fields of a request from options that were perhaps not given. */

type Set<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without those that are undefined: the API then takes its defaults. */
export function fields<T extends object>(given: T): Set<T> {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Set<T>;
}
