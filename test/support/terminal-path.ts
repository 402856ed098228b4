/** One path that ends an execution: what is asked for, what somebody does, how it ends. */
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ExecutionSpec } from '../../gen/tailrace/v1/execution_pb.js';
import type { EndReason, ExecutionState } from '../../gen/tailrace/v1/execution_state_pb.js';
import type { Claim } from '../../gen/tailrace/v1/lease_pb.js';
import { wallMs } from '../../src/runtime/clock.js';
import type { ByHand, Init } from './by-hand.js';
import type { FlowsByHand } from './flows-by-hand.js';

export type Subject = Init<ExecutionSpec>;

export interface Path {
  readonly state: ExecutionState;
  readonly reason: EndReason;
  readonly attempts: number;
  readonly spec: () => Subject;
  readonly leaseSeconds: number;
  readonly run?: (hand: ByHand, claim: Claim) => Promise<unknown>;
  readonly wait?: (hand: ByHand, execution: string) => Promise<unknown>;
  /** Answers the execution that goes this path. */
  readonly among?: (hand: FlowsByHand, subject: Subject) => Promise<string>;
}

/** Given with every cancel. */
export const WHY = 'no longer needed';

/** Late enough for whatever a path does before. */
export const soon = () => ({ deadlineTime: timestampFromMs(wallMs() + 12_000) });

export const path = (state: ExecutionState, reason: EndReason, attempts: number, more: Partial<Path> = {}): Path => ({
  state,
  reason,
  attempts,
  spec: () => ({}),
  leaseSeconds: 60,
  ...more,
});
