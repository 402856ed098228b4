/** A way out of a state that work stands in, which needs nobody: what brings it there, and where it goes by itself. */
import type { AttemptOutcome } from '../../gen/tailrace/v1/attempt_pb.js';
import type { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { WaitsByHand } from './waits-by-hand.js';

export interface Exit {
  readonly from: ExecutionState;
  readonly to: ExecutionState;
  readonly how: EndReason | AttemptOutcome | undefined;
  /** Answers the execution. */
  readonly arrange: (hand: WaitsByHand) => Promise<string>;
}
