/** Counters by name that are made on first use. For names of which there are few. */

export class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string, n = 1): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + n);
  }

  get entries(): Iterable<readonly [name: string, count: number]> {
    return this.#counts;
  }
}
