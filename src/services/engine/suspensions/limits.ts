/** How much one execution may be told, and how many places it may have for that. */
export interface SignalLimits {
  /** Signals of one execution. */
  readonly perExecution: number;
  /** Signals of one waitpoint that no suspension names yet. */
  readonly earlyPerWaitpoint: number;
  /** Waitpoints of one execution. */
  readonly waitpoints: number;
}
