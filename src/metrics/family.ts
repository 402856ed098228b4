/**
 * A family of metrics as Prometheus knows it: a name, what it means, and its series, which are asked for at each scrape.
 *
 * What is measured counts in place, where it happens, and knows nothing of this: a family reads it. So a process that
 * nobody scrapes pays nothing for labels and texts.
 */
import type { Metric, Registry } from 'prom-client';
import type { Histogram } from '../runtime/histogram.js';

export type Labels = Readonly<Record<string, string>>;

export interface Family {
  /** Ends in its unit, and in `_total` for what only grows. */
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly collect: (series: Series) => void | Promise<void>;
}

interface Value {
  readonly metricName: string;
  readonly labels: Labels;
  readonly value: number;
}

/** The series of one family in one scrape. */
export class Series {
  readonly values: Value[] = [];
  readonly #name: string;
  readonly #places = new Map<string, number>();

  constructor(name: string) {
    this.#name = name;
  }

  /** Of the same labels once only. */
  set(value: number, labels: Labels = {}): void {
    this.values.push({ metricName: this.#name, labels, value });
  }

  /** Adds up what comes with the same labels. */
  add(value: number, labels: Labels): void {
    this.#merge(value, labels, (before) => before + value);
  }

  /** Keeps the most of what comes with the same labels. */
  most(value: number, labels: Labels): void {
    this.#merge(value, labels, (before) => Math.max(before, value));
  }

  #merge(value: number, labels: Labels, merged: (before: number) => number): void {
    const key = JSON.stringify(labels);
    const at = this.#places.get(key);
    const before = at === undefined ? undefined : this.values[at];
    if (at !== undefined && before !== undefined) {
      this.values[at] = { ...before, value: merged(before.value) };
      return;
    }
    this.#places.set(key, this.values.length);
    this.set(value, labels);
  }

  histogram({ bounds, counts, sum }: Histogram, labels: Labels): void {
    let count = 0;
    counts.forEach((n, i) => {
      count += n;
      const le = i < bounds.length ? String(bounds[i]) : '+Inf';
      this.values.push({ metricName: `${this.#name}_bucket`, labels: { ...labels, le }, value: count });
    });
    this.values.push({ metricName: `${this.#name}_sum`, labels, value: sum });
    this.values.push({ metricName: `${this.#name}_count`, labels, value: count });
  }
}

/** A registry asks its metrics for no more than these. */
export function register(registry: Registry, { name, help, type, collect }: Family): void {
  const metric = {
    name,
    help,
    type,
    aggregator: 'sum',
    get: async () => {
      const series = new Series(name);
      await collect(series);
      return { name, help, type, aggregator: 'sum', values: series.values };
    },
  };
  registry.registerMetric(metric as unknown as Metric);
}
