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
    readonly chains: number;
    readonly delivery: number;
    readonly idle: number;
    readonly budgets: number;
    /** Until what a start leaves behind has calmed down. */
    readonly settle: number;
  };
  /** Chains that are under way at once. */
  readonly chains: number;
  /** Lengths of the line that claims are measured at. */
  readonly waiting: readonly number[];
  /** Claims per length. */
  readonly claims: number;
  readonly joins: {
    /** Members of one join, from the smallest on, and members of all joins of one size together. */
    readonly sizes: readonly number[];
    readonly members: number;
    /** Slots filled one by one, per size of the join. */
    readonly slots: number;
    /** Members of a fan-out of which one is needed, and how often that is done. */
    readonly fanOut: number;
    readonly fanOuts: number;
  };
  /** Cycles of a wait: one after the other, at a steady rate, many at once. */
  readonly waits: { readonly alone: number; readonly steady: number; readonly atOnce: number };
  /** How often each takes its turn, with how many executions twice. */
  readonly limits: { readonly rounds: number; readonly executions: number };
  readonly fairness: {
    readonly rounds: number;
    /** With and without the flooder, each. */
    readonly seconds: number;
    readonly keys: number;
    readonly backlog: number;
  };
  /** Executions that emit at once, each with so many readers, and for how long. */
  readonly frames: {
    readonly seconds: number;
    readonly rounds: readonly { readonly streams: number; readonly readers: number }[];
  };
  /** Frames appended to a stream that is empty, and those that another one has before and after. */
  readonly appends: { readonly few: number; readonly from: number; readonly to: number };
  /** As fast as it goes, and at a steady rate. */
  readonly routing: { readonly ceilingSeconds: number; readonly steadySeconds: number };
  /** Events of one flow, and how many are told of together. */
  readonly hotFlow: { readonly events: number; readonly step: number };
}

export const FULL: Scale = {
  throughput: { fast: 60_000, middling: 15_000, slow: 3_000 },
  seconds: { calls: 5, latency: 10, chains: 5, delivery: 10, idle: 30, budgets: 10, settle: 5 },
  chains: 100,
  waiting: [1_000, 100_000, 1_000_000],
  claims: 100,
  joins: { sizes: [100, 1_000, 10_000], members: 10_000, slots: 100, fanOut: 1_000, fanOuts: 20 },
  waits: { alone: 500, steady: 500, atOnce: 2_000 },
  limits: { rounds: 3, executions: 20_000 },
  fairness: { rounds: 3, seconds: 20, keys: 10_000, backlog: 20_000 },
  frames: {
    seconds: 10,
    rounds: [
      { streams: 200, readers: 2 },
      { streams: 200, readers: 1 },
      { streams: 50, readers: 2 },
    ],
  },
  appends: { few: 500, from: 9_000, to: 10_000 },
  routing: { ceilingSeconds: 15, steadySeconds: 60 },
  hotFlow: { events: 10_000, step: 1_000 },
};

export const QUICK: Scale = {
  throughput: { fast: 3_000, middling: 1_000, slow: 200 },
  seconds: { calls: 0.5, latency: 1, chains: 0.25, delivery: 1, idle: 11, budgets: 0.5, settle: 1 },
  chains: 20,
  waiting: [1_000, 10_000, 100_000],
  claims: 20,
  joins: { sizes: [10, 100, 1_000], members: 1_000, slots: 16, fanOut: 200, fanOuts: 4 },
  waits: { alone: 20, steady: 50, atOnce: 100 },
  limits: { rounds: 1, executions: 1_500 },
  fairness: { rounds: 1, seconds: 1, keys: 200, backlog: 500 },
  frames: { seconds: 1, rounds: [{ streams: 8, readers: 2 }] },
  appends: { few: 20, from: 180, to: 200 },
  routing: { ceilingSeconds: 0.5, steadySeconds: 1 },
  hotFlow: { events: 100, step: 50 },
};
