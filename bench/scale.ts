/** How much is done: enough to mean something, or just enough to see that everything works. */

export interface Scale {
  readonly throughput: {
    /** Executions by how fast a contestant gets through them. */
    readonly fast: number;
    readonly middling: number;
    readonly slow: number;
  };
  readonly seconds: {
    readonly calls: number;
    readonly latency: number;
    readonly delivery: number;
    readonly idle: number;
    /** Until what a start leaves behind has calmed down. */
    readonly settle: number;
  };
  /** Lengths of the line that claims are measured at. */
  readonly waiting: readonly number[];
  /** Claims per length. */
  readonly claims: number;
}

export const FULL: Scale = {
  throughput: { fast: 60_000, middling: 15_000, slow: 3_000 },
  seconds: { calls: 5, latency: 10, delivery: 10, idle: 30, settle: 5 },
  waiting: [1_000, 100_000, 1_000_000],
  claims: 100,
};

export const QUICK: Scale = {
  throughput: { fast: 3_000, middling: 1_000, slow: 200 },
  seconds: { calls: 0.5, latency: 1, delivery: 1, idle: 11, settle: 1 },
  waiting: [1_000, 10_000, 100_000],
  claims: 20,
};
