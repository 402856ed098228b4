/** Counts values by size, in place: observing one allocates nothing and takes some nanoseconds. */

export class Histogram {
  /** Upper bounds, rising; what is above the last one is counted as well. */
  readonly bounds: readonly number[];
  /** One more than there are bounds; each counts what lies between its bound and the one before. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds, counts } = this;
    let i = 0;
    // Most values are small, and there are few bounds: from the start is faster than by halves.
    while (i < bounds.length && value > (bounds[i] as number)) i++;
    counts[i] = (counts[i] as number) + 1;
    this.sum += value;
  }

  get count(): number {
    let count = 0;
    for (const n of this.counts) count += n;
    return count;
  }
}
