/** What there is to tell after the commit when a parked execution may have gone on. */
export interface GoneOn {
  /** Classes that got claimable work, one per execution. */
  readonly classes: readonly number[] | null;
  /** It goes on after so many milliseconds. */
  readonly delay_ms: bigint | null;
  /** It waits for its concurrency key; somebody may have to look at that after the commit. */
  readonly left_over: boolean;
}
