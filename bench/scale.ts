/** How much is done: enough to mean something, more than that for one question, or just enough to see that everything works. */

export interface Scale {
  readonly throughput: {
    /** Executions by how fast a contestant gets through them. */
    readonly fast: number;
    readonly middling: number;
    readonly slow: number;
  };
  readonly seconds: {
    /** Before what runs at a rate is measured: what a process has only just begun to compile takes several times as long. */
    readonly warmUp: number;
    readonly calls: number;
    readonly latency: number;
    readonly chains: number;
    readonly delivery: number;
    /** Until an idle server has put away what its start left, and then whole cycles of what workers report (20 s each). */
    readonly calm: number;
    readonly idle: number;
    readonly budgets: number;
    /** Until what a start leaves behind has calmed down. */
    readonly settle: number;
    /** Of a snapshot, before its end is looked at. */
    readonly held: number;
    /** Of handlers that take long. */
    readonly long: number;
    readonly soak: number;
  };
  /** Single submissions per second, at first; half of it where that is too much. */
  readonly offered: number;
  /** Executions per second of which the claims are timed while a snapshot is held. */
  readonly heldOffered: number;
  /** Ends per second that are to be delivered. */
  readonly delivered: number;
  /** Chains that are under way at once. */
  readonly chains: number;
  /** Lengths of the line that claims are measured at. */
  readonly waiting: readonly number[];
  /** What stands ahead of the line and cannot be taken; and what has finished before one begins. */
  readonly ahead: number;
  readonly finished: number;
  /** Timed claims per length. */
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
  /** Bytes of all inputs of one size together. */
  readonly payloads: number;
  /** On completion streams. */
  readonly watchers: readonly number[];
  /** Executions whose handlers run at once, how long each takes, and for how long their leases are where they are renewed. */
  readonly renewals: { readonly running: number; readonly handlerMs: number; readonly leaseMs: number };
  /** Events of one flow, and how many are told of together. */
  readonly hotFlow: { readonly events: number; readonly step: number };
  /** Of each kind, in the log. */
  readonly consumers: { readonly entries: number };
  readonly letters: { readonly count: number };
  /** Of live work, with and without a redrive beside it, in turns. */
  readonly redrive: { readonly seconds: number; readonly rounds: number };
}

export const FULL: Scale = {
  throughput: { fast: 60_000, middling: 15_000, slow: 3_000 },
  seconds: {
    ...{ warmUp: 5, calls: 5, latency: 10, chains: 5, delivery: 10, calm: 25, idle: 60, budgets: 10, settle: 5 },
    ...{ held: 600, long: 300, soak: 3_600 },
  },
  offered: 1_000,
  heldOffered: 1_000,
  delivered: 2_000,
  chains: 100,
  waiting: [1_000, 100_000, 1_000_000, 5_000_000],
  ahead: 1_000_000,
  finished: 1_000_000,
  claims: 400,
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
  payloads: 200 * 2 ** 20,
  watchers: [1, 10, 100, 1_000],
  renewals: { running: 2_000, handlerMs: 3_000, leaseMs: 2_000 },
  hotFlow: { events: 10_000, step: 1_000 },
  consumers: { entries: 200_000 },
  letters: { count: 100_000 },
  redrive: { seconds: 10, rounds: 3 },
};

export const QUICK: Scale = {
  throughput: { fast: 3_000, middling: 1_000, slow: 200 },
  seconds: {
    ...{ warmUp: 0.2, calls: 0.5, latency: 1, chains: 0.25, delivery: 1, calm: 1, idle: 3, budgets: 0.5, settle: 1 },
    ...{ held: 3, long: 4, soak: 5 },
  },
  offered: 250,
  heldOffered: 250,
  delivered: 500,
  chains: 20,
  waiting: [1_000, 10_000],
  ahead: 5_000,
  finished: 3_000,
  claims: 20,
  joins: { sizes: [10, 100, 1_000], members: 1_000, slots: 16, fanOut: 200, fanOuts: 4 },
  waits: { alone: 20, steady: 50, atOnce: 100 },
  limits: { rounds: 1, executions: 1_500 },
  fairness: { rounds: 1, seconds: 1, keys: 200, backlog: 500 },
  frames: { seconds: 1, rounds: [{ streams: 8, readers: 2 }] },
  appends: { few: 20, from: 180, to: 200 },
  routing: { ceilingSeconds: 0.2, steadySeconds: 0.5 },
  payloads: 4 * 2 ** 20,
  watchers: [1, 10],
  renewals: { running: 60, handlerMs: 1_500, leaseMs: 1_200 },
  hotFlow: { events: 100, step: 50 },
  consumers: { entries: 1_000 },
  letters: { count: 500 },
  redrive: { seconds: 1, rounds: 1 },
};

/** A glance at the figures: the same kinds of load, as short as they can mean something. */
export const SHORT: Scale = {
  ...FULL,
  throughput: { fast: 9_000, middling: 3_000, slow: 600 },
  seconds: {
    ...FULL.seconds,
    warmUp: 2,
    calls: 2,
    latency: 2,
    delivery: 3,
    calm: 3,
    idle: 20,
    settle: 1,
    held: 30,
    long: 30,
    soak: 120,
  },
  waiting: [1_000, 50_000],
  ahead: 10_000,
  finished: 5_000,
  claims: 50,
  payloads: 40 * 2 ** 20,
};

/** With ten million that have finished, which takes a quarter of an hour to fill in. */
export const DEEP: Scale = { ...FULL, finished: 10_000_000 };
